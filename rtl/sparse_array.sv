// The sparse array: groups that work on the same patch, and what keeps them in step.
//
// A *program* holds a word for each patch, in order: how many beats it has, its geometry, and where a tile ends how
// long its sums take to leave. While the groups work on a patch the next one is filled in; a step is over when both
// are done. At the end of a tile the lanes change to the other half of their sums, and the one that is full is turned
// into codes during the steps that follow; where those of the tile before are not gone yet, all wait.
//
// A host fills the memories, writes `prime` so that groups read ahead, then `start`, and waits until `running` falls.
// The upper bits of an address say what lies there, below group and place:
//
// | kind | written | read |
// |---|---|---|
// | 0 | place 0: start, 1: prime, 2: input's zero point and sign, 3: output's zero point, 4 and 5: bounds | cycles |
// | 1 | a group's entries | |
// | 2, 3 | its records, and their blocks | |
// | 4, 5 | its biases, and its factors with a bit that says that there is an output | |
// | 6, 7 | the program, and its only block | |
// | 8 | of a geometry, the reciprocal of its channels | |
// | 9 | its pixels | |
// | 10 | where each of its lanes reads | |
// | 11 | what its taps lie further on | |
// | 13 | | counters |
module sparse_array #(
    parameter int GROUPS = 16,
    parameter int LANES = 32,
    parameter int PATCH_BYTES = 16384,
    parameter int BEAT_BYTES = 64,
    parameter int SLOTS = 64,
    parameter int GAP_BITS = 5,
    parameter int REQUANTIZED = 8,
    parameter int ENTRIES = 16384,
    parameter int RECORDS = 1024,
    parameter int BLOCKS = 64,
    parameter int OUTPUTS = 256,
    parameter int GEOMETRIES = 32,
    parameter int TAPS = 128,
    parameter int STEPS = 4096,
    parameter bit GATED = 1
) (
    input logic clk,
    input logic write,
    input logic [31:0] address,
    input logic [63:0] written,
    output logic [63:0] read,
    output logic running,
    // Asks for the next beat of the patches, which is there in the next cycle.
    output logic beat_wanted,
    input logic [BEAT_BYTES*8-1:0] beat,
    // Sums and codes that leave, of all groups.
    output logic [GROUPS-1:0] sums_there,
    output logic [GROUPS*REQUANTIZED*32-1:0] sums,
    output logic [GROUPS-1:0] codes_there,
    output logic [GROUPS*REQUANTIZED*8-1:0] codes
);
  localparam int AtBits = $clog2(PATCH_BYTES);
  localparam int SlotBits = $clog2(SLOTS);
  localparam int LaneBits = $clog2(LANES);
  localparam int GeometryBits = $clog2(GEOMETRIES);
  localparam int OutputBits = $clog2(OUTPUTS);
  localparam int GroupBits = GROUPS > 1 ? $clog2(GROUPS) : 1;
  // Stages from a step's cycle to its sums, and to its last code.
  localparam int SumStages = 7;
  localparam int CodeStages = 12;

  logic [3:0] kind;
  logic [7:0] group;
  logic [19:0] at;
  logic start;
  logic prime;
  assign {kind, group, at} = address;
  assign start = write && kind == 0 && at == 0;
  assign prime = write && kind == 0 && at == 1;

  logic x_signed;
  logic [7:0] x_zero_point;
  logic signed [9:0] y_zero_point;
  logic signed [9:0] lo;
  logic signed [9:0] hi;
  always_ff @(posedge clk) begin
    if (write && kind == 0) begin
      case (at)
        20'd2: {x_signed, x_zero_point} <= written[8:0];
        20'd3: y_zero_point <= written[9:0];
        20'd4: lo <= written[9:0];
        20'd5: hi <= written[9:0];
        default: ;
      endcase
    end
  end

  // The program.
  localparam int StepBits = 16 + GeometryBits + OutputBits + SlotBits + LaneBits + 2;
  logic step_there;
  logic [StepBits-1:0] step_word;
  logic step_take;
  logic [15:0] step_beats;
  logic [GeometryBits-1:0] step_geometry;
  logic [OutputBits-1:0] step_outputs;
  logic step_last_of_tile;
  // The last slot and the first lane of the last sums that a tile hands on.
  logic [SlotBits-1:0] step_last_slot;
  logic [LaneBits-1:0] step_last_lane;
  logic step_last_of_layer;
  logic unused_first;
  logic [15:0] unused_note;

  stream_reader #(
      .WIDTH (StepBits),
      .WORDS (STEPS),
      .BLOCKS(2)
  ) program_ (
      .clk,
      .restart(prime),
      .load_word(write && kind == 6),
      .load_block(write && kind == 7),
      .load_at(at),
      .load_value(written),
      .there(step_there),
      .word(step_word),
      .first(unused_first),
      .note(unused_note),
      .take(step_take)
  );

  assign {
    step_last_of_layer,
    step_last_of_tile,
    step_last_lane,
    step_last_slot,
    step_outputs,
    step_geometry,
    step_beats
  } = step_word;

  // What the array does: the first patch, a step, waiting for sums of the tile before, the last sums, the last stages.
  typedef enum logic [2:0] {
    Rest,
    Fill,
    Work,
    Wait,
    Drain,
    Empty
  } state_t;
  state_t state;

  // The step under way, and the one whose patch is filled in.
  logic [GeometryBits-1:0] geometry;
  logic [OutputBits-1:0] outputs_at;
  logic last_of_tile;
  logic last_of_layer;
  logic [SlotBits-1:0] last_slot;
  logic [LaneBits-1:0] last_lane;
  logic buffer;
  logic half;
  logic [GeometryBits-1:0] next_geometry;
  logic [OutputBits-1:0] next_outputs;
  logic next_last_of_tile;
  logic next_last_of_layer;
  logic [SlotBits-1:0] next_last_slot;
  logic [LaneBits-1:0] next_last_lane;
  logic [15:0] beats_left;
  logic [AtBits-1:0] beat_at;

  logic [GROUPS-1:0] group_works;
  logic [GROUPS-1:0] group_done;
  logic any_works;
  logic step;
  logic step_ends;
  logic filled;
  logic begins;
  logic tile_ends;

  // What drains.
  logic draining;
  logic drained;
  logic drain_half;
  logic [SlotBits-1:0] drain_slot;
  logic [LaneBits-1:0] drain_lane;
  logic [SlotBits-1:0] drain_last_slot;
  logic [LaneBits-1:0] drain_last_lane;
  logic [OutputBits-1:0] drain_outputs;
  logic of_slot_last;

  assign step = state == Work;
  assign beat_wanted = beats_left != 0;
  assign filled = beats_left <= 16'd1;
  assign step_ends = step && (&group_done) && filled;
  assign any_works = |group_works;
  // Whether none are left to be handed on behind this cycle.
  assign of_slot_last = drain_lane == drain_last_lane;
  assign drained = !draining || of_slot_last && drain_slot == drain_last_slot;
  assign tile_ends = (step_ends && last_of_tile || state == Wait) && drained;
  // Whether a step begins behind this cycle.
  assign begins = state == Fill && filled || (step_ends && !last_of_tile || tile_ends) && !last_of_layer;
  assign step_take = start || begins && !next_last_of_layer;

  always_ff @(posedge clk) begin
    if (beat_wanted) begin
      beats_left <= beats_left - 16'd1;
      beat_at <= beat_at + AtBits'(BEAT_BYTES);
    end
    if (step_take) begin
      beats_left <= step_beats;
      beat_at <= 0;
      next_geometry <= step_geometry;
      next_outputs <= step_outputs;
      next_last_of_tile <= step_last_of_tile;
      next_last_of_layer <= step_last_of_layer;
      next_last_slot <= step_last_slot;
      next_last_lane <= step_last_lane;
    end
    if (begins) begin
      geometry <= next_geometry;
      outputs_at <= next_outputs;
      last_of_tile <= next_last_of_tile;
      last_of_layer <= next_last_of_layer;
      last_slot <= next_last_slot;
      last_lane <= next_last_lane;
      buffer <= !buffer;
    end
    if (prime) begin
      beats_left <= 0;
      buffer <= 1;
      half <= 0;
      draining <= 0;
    end else begin
      if (tile_ends) begin
        half <= !half;
        draining <= 1;
        drain_half <= half;
        drain_slot <= 0;
        drain_lane <= 0;
        drain_last_slot <= last_slot;
        drain_last_lane <= last_lane;
        drain_outputs <= outputs_at;
      end else if (draining) begin
        drain_lane <= of_slot_last ? LaneBits'(0) : drain_lane + LaneBits'(REQUANTIZED);
        if (of_slot_last) drain_slot <= drain_slot + 1'b1;
        if (drained) draining <= 0;
      end
    end
  end

  logic [3:0] stages_left;
  logic [31:0] cycles;

  always_ff @(posedge clk) begin
    if (running) cycles <= cycles + 1;
    case (state)
      Rest:
      if (start) begin
        state  <= Fill;
        cycles <= 0;
      end
      Fill: if (filled) state <= Work;
      Work: begin
        if (tile_ends && last_of_layer) state <= Drain;
        else if (step_ends && last_of_tile && !drained) state <= Wait;
      end
      Wait: if (drained) state <= last_of_layer ? Drain : Work;
      Drain: begin
        stages_left <= 4'(CodeStages - 1);
        if (drained) state <= Empty;
      end
      default: begin
        stages_left <= stages_left - 4'd1;
        if (stages_left == 0) state <= Rest;
      end
    endcase
    if (prime) state <= Rest;
  end
  assign running = state != Rest;

  // What the stages behind a step need of it: they are of the step that the issue was in.
  logic [GeometryBits-1:0] geometry_at[1:2];
  logic buffer_at[1:3];
  logic [2*AtBits:0] reciprocals[GEOMETRIES];
  logic [LaneBits:0] pixels[GEOMETRIES];
  logic [LANES*AtBits-1:0] offsets[GEOMETRIES];
  logic [2*AtBits:0] reciprocal_2;
  logic [LaneBits:0] pixels_2;
  logic [LANES*AtBits-1:0] offsets_2;
  logic [LANES*AtBits-1:0] offsets_3;
  logic [LANES-1:0] pixels_3;

  always_ff @(posedge clk) begin
    geometry_at[1] <= geometry;
    geometry_at[2] <= geometry_at[1];
    buffer_at[1] <= buffer;
    buffer_at[2] <= buffer_at[1];
    buffer_at[3] <= buffer_at[2];
    reciprocal_2 <= reciprocals[geometry_at[1]];
    pixels_2 <= pixels[geometry_at[1]];
    offsets_2 <= offsets[geometry_at[1]];
    offsets_3 <= offsets_2;
    for (int i = 0; i < LANES; i++) pixels_3[i] <= (LaneBits + 1)'(i) < pixels_2;
    if (write && kind == 8) reciprocals[at[GeometryBits-1:0]] <= written[2*AtBits:0];
    if (write && kind == 9) pixels[at[GeometryBits-1:0]] <= written[LaneBits:0];
    if (write && kind == 10) begin
      offsets[at[GeometryBits-1:0]][LaneBits'(group)*AtBits+:AtBits] <= written[AtBits-1:0];
    end
  end

  // A beat on its way: asked for, there, handed round, in the groups. It is filled in a cycle before what was issued
  // with it would look.
  logic [AtBits-1:0] fill_at[1:3];
  logic fill_there[1:3];
  logic fill_buffer[1:3];
  logic [BEAT_BYTES*8-1:0] beat_2;
  logic [BEAT_BYTES*8-1:0] beat_3;

  always_ff @(posedge clk) begin
    fill_there[1] <= beat_wanted && !prime;
    fill_at[1] <= beat_at;
    fill_buffer[1] <= !buffer;
    for (int i = 2; i <= 3; i++) begin
      fill_there[i] <= fill_there[i-1];
      fill_at[i] <= fill_at[i-1];
      fill_buffer[i] <= fill_buffer[i-1];
    end
    beat_2 <= beat;
    beat_3 <= beat_2;
  end

  // What is handed on waits until sums of the last issue are there.
  logic [SumStages:1] drain_there;
  logic [SumStages:1] drain_half_at;
  logic [SlotBits-1:0] drain_slot_at[1:SumStages];
  logic [LaneBits-1:0] drain_lane_at[1:SumStages];
  logic [OutputBits-1:0] drain_outputs_at[1:SumStages];

  always_ff @(posedge clk) begin
    drain_there <= {drain_there[SumStages-1:1], draining && !prime};
    drain_half_at <= {drain_half_at[SumStages-1:1], drain_half};
    drain_slot_at[1] <= drain_slot;
    drain_lane_at[1] <= drain_lane;
    drain_outputs_at[1] <= drain_outputs + OutputBits'(drain_slot);
    for (int i = 2; i <= SumStages; i++) begin
      drain_slot_at[i] <= drain_slot_at[i-1];
      drain_lane_at[i] <= drain_lane_at[i-1];
      drain_outputs_at[i] <= drain_outputs_at[i-1];
    end
  end

  logic [31:0] counters[GROUPS];

  generate
    for (genvar i = 0; i < GROUPS; i++) begin : g_groups
      logic mine;
      assign mine = write && group == 8'(i);
      sparse_group #(
          .LANES(LANES),
          .PATCH_BYTES(PATCH_BYTES),
          .BEAT_BYTES(BEAT_BYTES),
          .SLOTS(SLOTS),
          .GAP_BITS(GAP_BITS),
          .REQUANTIZED(REQUANTIZED),
          .ENTRIES(ENTRIES),
          .RECORDS(RECORDS),
          .BLOCKS(BLOCKS),
          .OUTPUTS(OUTPUTS),
          .GEOMETRIES(GEOMETRIES),
          .TAPS(TAPS),
          .GATED(GATED)
      ) group_ (
          .clk,
          .restart(prime),
          .step,
          .step_ends,
          .works(group_works[i]),
          .done(group_done[i]),
          .half,
          .outputs_at,
          .reciprocal(reciprocal_2),
          .geometry(geometry_at[2]),
          .buffer(buffer_at[3]),
          .offsets(offsets_3),
          .pixels(pixels_3),
          .fill(fill_there[3]),
          .fill_buffer(fill_buffer[3]),
          .fill_at(fill_at[3]),
          .fill_bytes(beat_3),
          .drain(drain_there[SumStages]),
          .drain_half(drain_half_at[SumStages]),
          .drain_slot(drain_slot_at[SumStages]),
          .drain_lane(drain_lane_at[SumStages]),
          .drain_at(drain_outputs_at[SumStages]),
          .x_signed,
          .x_zero_point,
          .y_zero_point,
          .lo,
          .hi,
          .load_entry(mine && kind == 1),
          .load_record(mine && kind == 2),
          .load_block(mine && kind == 3),
          .load_bias(mine && kind == 4),
          .load_factor(mine && kind == 5),
          .load_skip(write && kind == 11),
          .load_at(at),
          .load_value(written),
          .sums_there(sums_there[i]),
          .sums_out(sums[i*REQUANTIZED*32+:REQUANTIZED*32]),
          .codes_there(codes_there[i]),
          .codes_out(codes[i*REQUANTIZED*8+:REQUANTIZED*8]),
          .running,
          .filling(state == Fill),
          .any_works,
          .read_at(at[2:0]),
          .read_counter(counters[i])
      );
    end
  endgenerate

  assign read = kind == 13 ? {32'b0, counters[GroupBits'(group)]} : {32'b0, cycles};

  logic unused_bits;
  assign unused_bits = &{1'b0, step_there, unused_first, unused_note, written};
endmodule
