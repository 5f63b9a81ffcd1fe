// A cell with a sum of its own: what a dense array is made of, and what gating is measured on.
module mac_cell #(
    parameter int W_BITS = 8,
    parameter int X_BITS = 9,
    parameter int SUM_BITS = 32,
    parameter bit GATED = 1
) (
    input logic clk,
    // Begins a new sum with `start`; products under way are not of it.
    input logic load,
    input logic signed [SUM_BITS-1:0] start,
    input logic enable,
    input logic signed [W_BITS-1:0] w,
    input logic signed [X_BITS-1:0] x,
    output logic signed [SUM_BITS-1:0] sum
);
  logic signed [SUM_BITS-1:0] sum_after;
  logic live;

  gated_mac #(
      .W_BITS(W_BITS),
      .X_BITS(X_BITS),
      .SUM_BITS(SUM_BITS),
      .GATED(GATED)
  ) mac (
      .clk,
      .enable,
      .w,
      .x,
      .sum_before(sum),
      .sum_after,
      .live
  );

  always_ff @(posedge clk) begin
    if (load) sum <= start;
    else if (live) sum <= sum_after;
  end
endmodule
