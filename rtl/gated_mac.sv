// A multiply-accumulate cell that stands still where an operand is zero: operands, product and sum keep their
// values, so that nothing toggles behind them. Whoever uses it keeps the sums.
//
// Operands in cycle t, their product in t + 1; `sum_after` and `live` are of t + 2.
module gated_mac #(
    parameter int W_BITS = 8,
    // A code of 8 bits less its zero point.
    parameter int X_BITS = 9,
    parameter int SUM_BITS = 32,
    parameter bit GATED = 1
) (
    input logic clk,
    input logic enable,
    input logic signed [W_BITS-1:0] w,
    input logic signed [X_BITS-1:0] x,
    input logic signed [SUM_BITS-1:0] sum_before,
    output logic signed [SUM_BITS-1:0] sum_after,
    // Whether the sum changes.
    output logic live
);
  localparam int ProductBits = W_BITS + X_BITS;

  logic signed [W_BITS-1:0] w_q;
  logic signed [X_BITS-1:0] x_q;
  logic signed [ProductBits-1:0] product_q;
  logic operands_live;

  generate
    if (GATED) begin : g_gated
      logic moves;
      assign moves = enable && w != 0 && x != 0;
      always_ff @(posedge clk) begin
        operands_live <= moves;
        if (moves) begin
          w_q <= w;
          x_q <= x;
        end
        live <= operands_live;
        if (operands_live) product_q <= w_q * x_q;
      end
    end else begin : g_free
      always_ff @(posedge clk) begin
        operands_live <= enable;
        w_q <= w;
        x_q <= x;
        live <= operands_live;
        product_q <= w_q * x_q;
      end
    end
  endgenerate

  assign sum_after = sum_before + SUM_BITS'(product_q);
endmodule
