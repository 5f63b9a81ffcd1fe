// Turns a sum into a code: round_half_even(f32(sum) * factor) + zero_point, between two bounds, with the bits of
// `secateur_model::quant::requantize`.
//
// That rounds three times, and so does this, a stage each: the sum to the 24 bits of an f32, the product to 24 bits,
// and that to an integer, each to the nearest, ties to even. Products too small for an f32 of full precision are far
// below a half and give zero either way, as do factors too vanishes for one. Codes have 8 bits, so an integer beyond
// ±1023 is beyond every bound and is held there.
//
// A sum in cycle t; its code in t + 4.
module requantizer (
    input logic clk,
    input logic signed [31:0] sum,
    // The bits of an f32, of the sum's cycle.
    input logic [31:0] factor,
    // Those of the layer, which is over before they change.
    input logic signed [9:0] zero_point,
    input logic signed [9:0] lo,
    input logic signed [9:0] hi,
    output logic signed [9:0] code
);
  // The first rounding: |sum| = mantissa * 2^exponent.
  logic [31:0] size;
  logic [31:0] norm;
  logic [5:0] zeros;
  logic sum_up;
  logic [24:0] sum_rounded;

  assign size = sum[31] ? ~sum + 32'd1 : sum;
  always_comb begin
    zeros = 6'd32;
    for (int i = 0; i < 32; i++) if (size[i]) zeros = 6'(31 - i);
  end
  assign norm = size << zeros;
  assign sum_up = norm[7] && (norm[8] || norm[6:0] != 0);
  assign sum_rounded = {1'b0, norm[31:8]} + 25'(sum_up);

  logic [23:0] mantissa_1;
  logic signed [10:0] exponent_1;
  logic [23:0] factor_1;
  logic negative_1;
  logic nothing_1;

  always_ff @(posedge clk) begin
    // A carry out leaves a power of two: its low bits are zero.
    mantissa_1 <= sum_rounded[24] ? sum_rounded[24:1] : sum_rounded[23:0];
    exponent_1 <= 11'sd8 - $signed({5'b0, zeros}) + $signed({10'b0, sum_rounded[24]}) +
        $signed({3'b0, factor[30:23]}) - 11'sd150;
    factor_1 <= {1'b1, factor[22:0]};
    negative_1 <= sum[31] ^ factor[31];
    // No sum, a factor that is zero or all but, or no number.
    nothing_1 <= size == 0 || factor[30:23] == 0 || factor[30:23] == 8'hff && factor[22:0] != 0;
  end

  logic [47:0] product_2;
  logic signed [10:0] exponent_2;
  logic negative_2;
  logic nothing_2;

  always_ff @(posedge clk) begin
    product_2 <= mantissa_1 * factor_1;
    exponent_2 <= exponent_1;
    negative_2 <= negative_1;
    nothing_2 <= nothing_1;
  end

  // The second: of two factors in [2^23, 2^24), so the product has 47 or 48 bits.
  logic [47:0] high;
  logic product_up;
  logic [24:0] product_rounded;

  assign high = product_2[47] ? product_2 : product_2 << 1;
  assign product_up = high[23] && (high[24] || high[22:0] != 0);
  assign product_rounded = {1'b0, high[47:24]} + 25'(product_up);

  logic [24:0] mantissa_3;
  logic signed [10:0] exponent_3;
  logic negative_3;
  logic nothing_3;

  always_ff @(posedge clk) begin
    // A carry out needs no new exponent: there are 25 bits.
    mantissa_3 <= product_rounded;
    exponent_3 <= exponent_2 + (product_2[47] ? 11'sd24 : 11'sd23);
    negative_3 <= negative_2;
    nothing_3 <= nothing_2;
  end

  // The third: bits of the fraction go out on the right.
  logic [4:0] down;
  logic [50:0] shifted;
  logic [24:0] whole;
  logic whole_up;
  logic vanishes;
  logic beyond;
  logic [10:0] rounded;
  logic signed [11:0] signed_size;
  logic signed [11:0] biased;

  assign beyond = exponent_3 >= 0;
  assign vanishes = nothing_3 || exponent_3 < -11'sd25;
  assign down = 5'(-exponent_3);
  assign shifted = {mantissa_3, 26'b0} >> down;
  assign whole = shifted[50:26];
  assign whole_up = shifted[25] && (whole[0] || shifted[24:0] != 0);
  always_comb begin
    if (vanishes) rounded = 0;
    else if (beyond || whole[24:10] != 0) rounded = 11'd1023;
    else rounded = {1'b0, whole[9:0]} + 11'(whole_up);
  end
  assign signed_size = negative_3 ? -$signed({1'b0, rounded}) : $signed({1'b0, rounded});
  assign biased = signed_size + 12'(zero_point);

  always_ff @(posedge clk) begin
    if (biased < 12'(lo)) code <= lo;
    else if (biased > 12'(hi)) code <= hi;
    else code <= 10'(biased);
  end
endmodule
