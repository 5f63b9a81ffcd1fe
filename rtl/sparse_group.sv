// A group of the sparse array: one output channel at a time, each cycle one of its weights that is not zero, which all
// lanes multiply by the inputs of their own pixels.
//
// A *record* is a visit of an output channel: how many entries it has, where its sums are kept, where its channels begin
// in the patch. An *entry* is a weight and the gap before it; a weight of zero behind the longest gap only carries
// the gap on. A visit without entries takes a cycle; it may be the one that begins a sum with its bias.
//
// Stages behind the issue: entry (1), address (2), what is not zero (3), bytes (4), operands (5), products (6),
// sums (7). Whoever hands on sums reads them in stage 7 too, so issue and drain see each other as if both were one
// cycle long; codes are there in stage 12.
module sparse_group #(
    parameter int LANES = 32,
    parameter int PATCH_BYTES = 16384,
    parameter int BEAT_BYTES = 64,
    // Sums that a lane keeps, of one tile; as many again are on their way out.
    parameter int SLOTS = 64,
    parameter int GAP_BITS = 5,
    // Sums turned into codes a cycle, a power of two.
    parameter int REQUANTIZED = 8,
    parameter int ENTRIES = 16384,
    parameter int RECORDS = 1024,
    parameter int BLOCKS = 64,
    // Output channels of all blocks.
    parameter int OUTPUTS = 256,
    parameter int GEOMETRIES = 32,
    parameter int TAPS = 128,
    parameter bit GATED = 1,
    // Whether it counts where its cycles go.
    parameter bit COUNTERS = 1,
    localparam int AtBits = $clog2(PATCH_BYTES),
    localparam int SlotBits = $clog2(SLOTS),
    localparam int GeometryBits = $clog2(GEOMETRIES),
    localparam int OutputBits = $clog2(OUTPUTS)
) (
    input logic clk,
    input logic restart,
    // Whether the array works on a step, and whether this cycle is its last.
    input logic step,
    input logic step_ends,
    // Whether this group does something in this cycle, and whether it has nothing more to do behind it.
    output logic works,
    output logic done,
    // Of the step: which half of the sums it adds to, where biases and factors of its block begin.
    input logic half,
    input logic [OutputBits-1:0] outputs_at,
    // Of the step, at stage 2: how to find a tap from a place, and at stage 3: the buffer, where lanes read, and which.
    input logic [2*AtBits:0] reciprocal,
    input logic [GeometryBits-1:0] geometry,
    input logic buffer,
    input logic [LANES*AtBits-1:0] offsets,
    input logic [LANES-1:0] pixels,
    // A beat of the next patch.
    input logic fill,
    input logic fill_buffer,
    input logic [AtBits-1:0] fill_at,
    input logic [BEAT_BYTES*8-1:0] fill_bytes,
    // What is handed on, at stage 7.
    input logic drain,
    input logic drain_half,
    input logic [SlotBits-1:0] drain_slot,
    input logic [$clog2(LANES)-1:0] drain_lane,
    input logic [OutputBits-1:0] drain_at,
    // Of the layer.
    input logic x_signed,
    input logic [7:0] x_zero_point,
    input logic signed [9:0] y_zero_point,
    input logic signed [9:0] lo,
    input logic signed [9:0] hi,
    // What fills its memories.
    input logic load_entry,
    input logic load_record,
    input logic load_block,
    input logic load_bias,
    input logic load_factor,
    input logic load_skip,
    input logic [19:0] load_at,
    input logic [63:0] load_value,
    // Sums at stage 8 and their codes at stage 12.
    output logic sums_there,
    output logic [REQUANTIZED*32-1:0] sums_out,
    output logic codes_there,
    output logic [REQUANTIZED*8-1:0] codes_out,
    // Counters: busy, filler, pointer, imbalance, patch, drain, bytes fetched. While the array runs it fills the first
    // patch, works on a step, or waits for sums to be gone.
    input logic running,
    input logic filling,
    input logic any_works,
    input logic [2:0] read_at,
    output logic [31:0] read_counter
);
  /*verilator no_inline_module*/
  localparam int RecordBits = 2 * AtBits + SlotBits + 4;
  localparam int EntryBits = $clog2(ENTRIES);
  localparam int TapBits = $clog2(TAPS);

  // Issue.
  logic record_there;
  logic [RecordBits-1:0] record;
  logic of_tile_first;
  logic [15:0] block_entry;
  logic take;
  // A record without a visit: the group has nothing to do in the step.
  logic nothing;
  logic last;
  logic begins;
  logic [SlotBits-1:0] slot;
  logic [AtBits-1:0] base;
  logic [AtBits:0] entries;

  stream_reader #(
      .WIDTH (RecordBits),
      .WORDS (RECORDS),
      .BLOCKS(BLOCKS)
  ) records (
      .clk,
      .restart,
      .load_word(load_record),
      .load_block,
      .load_at,
      .load_value,
      .there(record_there),
      .word(record),
      .first(of_tile_first),
      .note(block_entry),
      .take
  );

  assign {nothing, last, begins, slot, base, entries} = record;

  logic finished;
  logic [AtBits:0] used;
  logic [EntryBits-1:0] entry_at_q;
  logic [EntryBits-1:0] entry_at;
  logic issue;
  logic visit_ends;
  logic idle;

  assign idle = finished || nothing;
  assign works = step && record_there && !idle;
  assign issue = works && entries != 0;
  assign visit_ends = works && (entries == 0 || used + 1'b1 == entries);
  assign done = idle && (finished || record_there) || visit_ends && last;
  assign take = visit_ends || step_ends && nothing && !finished;
  assign entry_at = of_tile_first && used == 0 ? EntryBits'(block_entry) : entry_at_q;

  always_ff @(posedge clk) begin
    if (restart || step_ends) finished <= 0;
    else if (visit_ends && last) finished <= 1;
    if (restart || visit_ends) used <= 0;
    else if (issue) used <= used + 1'b1;
    if (works || take) entry_at_q <= entry_at + EntryBits'(issue);
  end

  // Stage 1: the entry, and its place in the part: behind the one before by the gap.
  logic [GAP_BITS+7:0] memory[ENTRIES];
  logic [GAP_BITS+7:0] entry;
  logic [GAP_BITS-1:0] gap;
  logic signed [7:0] weight_1;
  logic there_1;
  logic fresh_1;
  logic begins_1;
  logic half_1;
  logic [SlotBits-1:0] slot_1;
  logic [AtBits-1:0] base_1;
  logic [OutputBits-1:0] outputs_at_1;
  logic carries;
  logic [AtBits-1:0] next_place;
  logic [AtBits-1:0] place;

  always_ff @(posedge clk) begin
    if (issue) entry <= memory[entry_at];
    there_1 <= issue && !restart;
    fresh_1 <= used == 0;
    begins_1 <= works && used == 0 && begins && !restart;
    half_1 <= half;
    slot_1 <= slot;
    base_1 <= base;
    outputs_at_1 <= outputs_at;
    if (load_entry) memory[load_at[EntryBits-1:0]] <= load_value[GAP_BITS+7:0];
  end

  assign {gap, weight_1} = entry;
  assign carries = weight_1 == 0 && (&gap);
  assign place = (fresh_1 ? AtBits'(0) : next_place) + AtBits'(gap);

  // Stage 2: the address. Of a place in [tap, channel], the tap by the reciprocal of the channels; what a tap lies
  // further on in the patch than in the part is tabled.
  logic [AtBits-1:0] place_2;
  logic signed [7:0] weight_2;
  logic there_2;
  logic begins_2;
  logic half_2;
  logic [SlotBits-1:0] slot_2;
  logic [AtBits-1:0] base_2;
  logic [OutputBits-1:0] output_2;

  always_ff @(posedge clk) begin
    if (there_1) next_place <= place + 1'b1;
    place_2 <= place;
    weight_2 <= weight_1;
    there_2 <= there_1 && !carries;
    begins_2 <= begins_1;
    half_2 <= half_1;
    slot_2 <= slot_1;
    base_2 <= base_1;
    output_2 <= outputs_at_1 + OutputBits'(slot_1);
  end

  logic [AtBits-1:0] skips[GEOMETRIES*TAPS];
  logic [3*AtBits:0] quotient;
  logic [TapBits-1:0] tap;
  logic [AtBits-1:0] skip;

  assign quotient = (3 * AtBits + 1)'(place_2) * (3 * AtBits + 1)'(reciprocal);
  assign tap = TapBits'(quotient >> (2 * AtBits));
  assign skip = skips[{geometry, tap}];

  // Stages 3 and 4 are the buffer's.
  logic [AtBits-1:0] at_3;
  logic there_3;
  logic signed [7:0] weight[3:5];
  logic begins_at[3:7];
  logic half_at[3:7];
  logic [SlotBits-1:0] slot_at[3:7];
  logic [OutputBits-1:0] output_at[3:6];

  always_ff @(posedge clk) begin
    at_3 <= base_2 + place_2 + skip;
    there_3 <= there_2;
    weight[3] <= weight_2;
    begins_at[3] <= begins_2;
    half_at[3] <= half_2;
    slot_at[3] <= slot_2;
    output_at[3] <= output_2;
    for (int i = 4; i <= 5; i++) weight[i] <= weight[i-1];
    for (int i = 4; i <= 6; i++) output_at[i] <= output_at[i-1];
    for (int i = 4; i <= 7; i++) begin
      begins_at[i] <= begins_at[i-1];
      half_at[i] <= half_at[i-1];
      slot_at[i] <= slot_at[i-1];
    end
    if (load_skip) skips[load_at[GeometryBits+TapBits-1:0]] <= load_value[AtBits-1:0];
  end

  // Nothing is fetched for a weight that is zero: an array that skips none has them among its entries.
  logic multiplies_3;
  assign multiplies_3 = there_3 && weight[3] != 0;

  logic [LANES-1:0] live;
  logic [LANES*8-1:0] codes;

  patch_buffer #(
      .LANES(LANES),
      .BYTES(PATCH_BYTES),
      .BEAT_BYTES(BEAT_BYTES)
  ) patch (
      .clk,
      .fill,
      .fill_buffer,
      .fill_at,
      .fill_bytes,
      .zero_point(x_zero_point),
      .lanes({LANES{multiplies_3}} & pixels),
      .read_buffer(buffer),
      .base(at_3),
      .offsets,
      .live,
      .codes
  );

  // Stages 5 to 7: operands, products, sums. A sum begins with the bias, whatever the first product is.
  logic signed [31:0] biases[OUTPUTS];
  logic [32:0] factors[OUTPUTS];
  logic signed [31:0] bias;

  always_ff @(posedge clk) begin
    bias <= biases[output_at[6]];
    if (load_bias) biases[load_at[OutputBits-1:0]] <= load_value[31:0];
    if (load_factor) factors[load_at[OutputBits-1:0]] <= load_value[32:0];
  end

  logic [LANES*32-1:0] drained;

  generate
    for (genvar i = 0; i < LANES; i++) begin : g_lanes
      logic signed [31:0] sums[2*SLOTS];
      logic signed [31:0] sum_before;
      logic signed [31:0] sum_after;
      logic signed [8:0] x;
      logic summed;

      assign x = $signed({x_signed & codes[i*8+7], codes[i*8+:8]}) -
          $signed({x_signed & x_zero_point[7], x_zero_point});

      gated_mac #(
          .GATED(GATED)
      ) mac (
          .clk,
          .enable(live[i]),
          .w(weight[5]),
          .x,
          .sum_before,
          .sum_after,
          .live(summed)
      );

      assign sum_before = begins_at[7] ? bias : sums[{half_at[7], slot_at[7]}];
      assign drained[i*32+:32] = sums[{drain_half, drain_slot}];

      always_ff @(posedge clk) begin
        if (summed || begins_at[7]) begin
          sums[{half_at[7], slot_at[7]}] <= summed ? sum_after : sum_before;
        end
      end
    end
  endgenerate

  // Stage 8 on: sums become codes. A group with fewer outputs than others has nothing to hand on at the end.
  logic [31:0] factor;
  logic factor_there;
  logic drain_8;
  logic [3:0] there_at;

  always_ff @(posedge clk) begin
    drain_8 <= drain && !restart;
    {factor_there, factor} <= factors[drain_at];
    sums_out <= drained[(32'(drain_lane)>>$clog2(REQUANTIZED))*REQUANTIZED*32+:REQUANTIZED*32];
    there_at <= {there_at[2:0], sums_there};
  end

  assign sums_there = drain_8 && factor_there;
  assign codes_there = there_at[3];

  generate
    for (genvar i = 0; i < REQUANTIZED; i++) begin : g_requantizers
      logic signed [9:0] code;
      requantizer requantizer (
          .clk,
          .sum(sums_out[i*32+:32]),
          .factor,
          .zero_point(y_zero_point),
          .lo,
          .hi,
          .code
      );
      assign codes_out[i*8+:8] = code[7:0];
      logic unused_sign;
      assign unused_sign = &{1'b0, code[9:8]};
    end
  endgenerate

  generate
    if (COUNTERS) begin : g_counters
      logic [31:0] busy;
      logic [31:0] filler;
      logic [31:0] pointer;
      logic [31:0] imbalance;
      logic [31:0] waits_patch;
      logic [31:0] waits_drain;
      logic [31:0] fetched;

      always_ff @(posedge clk) begin
        if (restart) begin
          busy <= 0;
          filler <= 0;
          pointer <= 0;
          imbalance <= 0;
          waits_patch <= 0;
          waits_drain <= 0;
          fetched <= 0;
        end else begin
          // What an entry is shows a cycle behind its issue.
          if (there_1 && !carries) busy <= busy + 1;
          if (there_1 && carries) filler <= filler + 1;
          if (works && !issue) pointer <= pointer + 1;
          if (step && !works && any_works) imbalance <= imbalance + 1;
          if (step && !works && !any_works || running && filling) waits_patch <= waits_patch + 1;
          if (running && !step && !filling) waits_drain <= waits_drain + 1;
          fetched <= fetched + $countones(live);
        end
      end

      always_comb begin
        case (read_at)
          3'd0: read_counter = busy;
          3'd1: read_counter = filler;
          3'd2: read_counter = pointer;
          3'd3: read_counter = imbalance;
          3'd4: read_counter = waits_patch;
          3'd5: read_counter = waits_drain;
          default: read_counter = fetched;
        endcase
      end
    end else begin : g_no_counters
      assign read_counter = 0;
      logic unused;
      assign unused = &{1'b0, running, filling, any_works, read_at};
    end
  endgenerate

  logic unused_bits;
  assign unused_bits = &{1'b0, load_at, load_value, block_entry, quotient};
endmodule
