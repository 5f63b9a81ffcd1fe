// A cell for a host: address 0 begins a sum, address 1 holds operands for one cycle, w below x; what is read is the sum.
module mac_bench #(
    parameter int W_BITS = 8,
    parameter int X_BITS = 9,
    parameter int SUM_BITS = 32,
    parameter bit GATED = 1
) (
    input logic clk,
    input logic write,
    input logic [31:0] address,
    input logic [63:0] written,
    output logic [63:0] read,
    output logic running
);
  logic signed [SUM_BITS-1:0] sum;

  mac_cell #(
      .W_BITS(W_BITS),
      .X_BITS(X_BITS),
      .SUM_BITS(SUM_BITS),
      .GATED(GATED)
  ) cell_ (
      .clk,
      .load(write && address == 0),
      .start(written[SUM_BITS-1:0]),
      .enable(write && address == 1),
      .w(written[W_BITS-1:0]),
      .x(written[32+:X_BITS]),
      .sum
  );

  assign read = 64'(sum);
  // As many cycles as the host asks for.
  assign running = 1;

  logic unused_bits;
  assign unused_bits = &{1'b0, written};
endmodule
