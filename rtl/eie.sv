// EIE's engine: elements side by side, fed by one scan of the inputs.
//
// A host fills the memories, starts it, waits until `running` falls and reads the sums. The upper bits of an address
// say what lies there, below the element and the place within:
//
// | kind | written | read |
// |---|---|---|
// | 0 | place 0: start; 1: how many inputs | place 0: cycles of the run |
// | 1 | an element's pointers | |
// | 2 | lines of its weight memory | |
// | 3 | the codebook, of all elements | |
// | 4 | inputs | |
// | 5 | sums to begin with | sums |
// | 6 | | counters |
module eie #(
    parameter int ELEMENTS = 64,
    parameter int QUEUE_SLOTS = 8,
    parameter int GAP_BITS = 4,
    parameter int CODE_BITS = 4,
    parameter int LINE_BITS = 64,
    parameter int COLUMNS = 4224,
    parameter int LINES = 4096,
    parameter int ROWS = 16,
    parameter int W_BITS = 16,
    parameter int X_BITS = 16,
    parameter int SUM_BITS = 48,
    parameter bit GATED = 1
) (
    input logic clk,
    input logic write,
    input logic [31:0] address,
    input logic [63:0] written,
    output logic [63:0] read,
    output logic running
);
  localparam int ColumnBits = $clog2(COLUMNS + 1);
  localparam int ElementBits = ELEMENTS > 1 ? $clog2(ELEMENTS) : 1;

  logic [3:0] kind;
  logic [7:0] element;
  logic [19:0] at;
  logic start;
  logic [ColumnBits-1:0] columns;

  assign {kind, element, at} = address;
  assign start = write && kind == 0 && at == 0;

  logic push;
  logic [ColumnBits-1:0] column;
  logic signed [X_BITS-1:0] x;
  logic ended;
  logic [ELEMENTS-1:0] full;
  logic [ELEMENTS-1:0] at_rest;
  logic any_full;
  logic signed [SUM_BITS-1:0] sums[ELEMENTS];
  logic [31:0] counters[ELEMENTS];

  assign any_full = |full;

  eie_scan #(
      .ELEMENTS(ELEMENTS),
      .X_BITS  (X_BITS),
      .COLUMNS (COLUMNS)
  ) scan (
      .clk,
      .restart(start),
      .run(running),
      .columns,
      .full(any_full),
      .load(write && kind == 4),
      .load_column(ColumnBits'(at)),
      .load_x(written[X_BITS-1:0]),
      .push,
      .column,
      .x,
      .ended
  );

  generate
    for (genvar i = 0; i < ELEMENTS; i++) begin : g_elements
      logic mine;
      assign mine = write && element == 8'(i);
      eie_pe #(
          .QUEUE_SLOTS(QUEUE_SLOTS),
          .GAP_BITS(GAP_BITS),
          .CODE_BITS(CODE_BITS),
          .LINE_BITS(LINE_BITS),
          .COLUMNS(COLUMNS),
          .LINES(LINES),
          .ROWS(ROWS),
          .W_BITS(W_BITS),
          .X_BITS(X_BITS),
          .SUM_BITS(SUM_BITS),
          .GATED(GATED)
      ) pe (
          .clk,
          .restart(start),
          .run(running),
          .push,
          .push_column(column),
          .push_x(x),
          .full(full[i]),
          .any_full,
          .ended,
          .at_rest(at_rest[i]),
          .load_pointer(mine && kind == 1),
          .load_line(mine && kind == 2),
          .load_codebook(write && kind == 3),
          .load_sum(mine && kind == 5),
          .load_at(at),
          .load_value(written),
          .read_at(at),
          .read_sum(sums[i]),
          .read_counter(counters[i])
      );
    end
  endgenerate

  // The end: as far behind the last issue as its sum is, whatever is under way.
  localparam int Stages = 4;
  logic [Stages-1:0] rested;
  logic rest;
  logic [31:0] cycles;
  assign rest = ended && (&at_rest);

  always_ff @(posedge clk) begin
    if (start) begin
      running <= 1;
      cycles <= 0;
      rested <= 0;
    end else if (running) begin
      cycles  <= cycles + 1;
      rested  <= {rested[Stages-2:0], rest};
      running <= !rested[Stages-1];
    end
    if (write && kind == 0 && at == 1) columns <= ColumnBits'(written);
  end

  always_comb begin
    case (kind)
      4'd0: read = {32'b0, cycles};
      4'd5: read = 64'(sums[ElementBits'(element)]);
      4'd6: read = {32'b0, counters[ElementBits'(element)]};
      default: read = 0;
    endcase
  end

  logic unused_bits;
  assign unused_bits = &{1'b0, element};
endmodule
