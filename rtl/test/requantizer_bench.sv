// A requantizer for a host: addresses 0 to 4 hold the sum, the factor, the zero point and the bounds; what is read is
// the code.
module requantizer_bench (
    input logic clk,
    input logic write,
    input logic [31:0] address,
    input logic [63:0] written,
    output logic [63:0] read,
    output logic running
);
  logic signed [31:0] sum;
  logic [31:0] factor;
  logic signed [9:0] zero_point;
  logic signed [9:0] lo;
  logic signed [9:0] hi;
  logic signed [9:0] code;

  requantizer requantizer (
      .clk,
      .sum,
      .factor,
      .zero_point,
      .lo,
      .hi,
      .code
  );

  always_ff @(posedge clk) begin
    if (write) begin
      case (address)
        32'd0: sum <= written[31:0];
        32'd1: factor <= written[31:0];
        32'd2: zero_point <= written[9:0];
        32'd3: lo <= written[9:0];
        default: hi <= written[9:0];
      endcase
    end
  end

  assign read = 64'(code);
  // As many cycles as the host asks for.
  assign running = 1;

  logic unused_bits;
  assign unused_bits = &{1'b0, written};
endmodule
