// The sparse array for a host, with a memory of patches in place of the scratchpad and its addresses, and memories
// that keep what leaves: kinds 12 (written: eight bytes of a beat, the beat in `at`), 14 (sums) and 15 (codes), both in
// the order in which a group hands them on, 1 << LaneBits a cycle.
module sparse_bench #(
    parameter int GROUPS = 4,
    parameter int LANES = 8,
    parameter int PATCH_BYTES = 1024,
    parameter int BEAT_BYTES = 8,
    parameter int SLOTS = 8,
    parameter int GAP_BITS = 3,
    parameter int REQUANTIZED = 2,
    parameter int ENTRIES = 16384,
    parameter int RECORDS = 4096,
    parameter int OUTPUTS = 256,
    parameter int STEPS = 16384,
    parameter int BEATS = 131072,
    parameter int KEPT = 32768
) (
    input logic clk,
    input logic write,
    input logic [31:0] address,
    input logic [63:0] written,
    output logic [63:0] read,
    output logic running
);
  localparam int BeatBits = $clog2(BEATS);
  localparam int KeptBits = $clog2(KEPT);
  localparam int GroupBits = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int OfBits = REQUANTIZED > 1 ? $clog2(REQUANTIZED) : 1;

  logic [3:0] kind;
  logic [7:0] group;
  logic [19:0] at;
  logic prime;
  assign {kind, group, at} = address;
  assign prime = write && kind == 0 && at == 1;

  logic beat_wanted;
  logic [BEAT_BYTES*8-1:0] beat;
  logic [BEAT_BYTES*8-1:0] beats[BEATS];
  logic [BeatBits-1:0] next_beat;
  logic [GROUPS-1:0] sums_there;
  logic [GROUPS*REQUANTIZED*32-1:0] sums;
  logic [GROUPS-1:0] codes_there;
  logic [GROUPS*REQUANTIZED*8-1:0] codes;
  logic [63:0] of_array;

  sparse_array #(
      .GROUPS(GROUPS),
      .LANES(LANES),
      .PATCH_BYTES(PATCH_BYTES),
      .BEAT_BYTES(BEAT_BYTES),
      .SLOTS(SLOTS),
      .GAP_BITS(GAP_BITS),
      .REQUANTIZED(REQUANTIZED),
      .ENTRIES(ENTRIES),
      .RECORDS(RECORDS),
      .OUTPUTS(OUTPUTS),
      .STEPS(STEPS)
  ) array (
      .clk,
      .write,
      .address,
      .written,
      .read(of_array),
      .running,
      .beat_wanted,
      .beat,
      .sums_there,
      .sums,
      .codes_there,
      .codes
  );

  always_ff @(posedge clk) begin
    if (prime) next_beat <= 0;
    else if (beat_wanted) begin
      beat <= beats[next_beat];
      next_beat <= next_beat + 1;
    end
    if (write && kind == 12) beats[at[BeatBits-1:0]][group*64+:64] <= written;
  end

  logic [REQUANTIZED*32-1:0] kept_sums[GROUPS][KEPT];
  logic [REQUANTIZED*8-1:0] kept_codes[GROUPS][KEPT];
  logic [KeptBits-1:0] next_sums[GROUPS];
  logic [KeptBits-1:0] next_codes[GROUPS];

  always_ff @(posedge clk) begin
    for (int i = 0; i < GROUPS; i++) begin
      if (prime) begin
        next_sums[i] <= 0;
        next_codes[i] <= 0;
      end else begin
        if (sums_there[i]) begin
          kept_sums[i][next_sums[i]] <= sums[i*REQUANTIZED*32+:REQUANTIZED*32];
          next_sums[i] <= next_sums[i] + 1;
        end
        if (codes_there[i]) begin
          kept_codes[i][next_codes[i]] <= codes[i*REQUANTIZED*8+:REQUANTIZED*8];
          next_codes[i] <= next_codes[i] + 1;
        end
      end
    end
  end

  logic [GroupBits-1:0] of;
  logic [KeptBits-1:0] row;
  logic [OfBits-1:0] lane;
  assign of = GroupBits'(group);
  assign row = KeptBits'(at / 20'(REQUANTIZED));
  assign lane = OfBits'(at % 20'(REQUANTIZED));

  always_comb begin
    case (kind)
      4'd14: read = {32'b0, kept_sums[of][row][lane*32+:32]};
      4'd15: read = {56'b0, kept_codes[of][row][lane*8+:8]};
      default: read = of_array;
    endcase
  end
endmodule
