// Finds inputs that are not zero, one a cycle, and hands them to the queues of all elements.
//
// Inputs lie in lines of one an element. A line is left at once behind its last input, if that is not zero; else
// the cycle that finds nothing more is spent on it. The next line is read in the cycle that leaves the one before.
module eie_scan #(
    parameter int ELEMENTS = 64,
    parameter int X_BITS = 16,
    // Inputs at most.
    parameter int COLUMNS = 4224,
    localparam int ColumnBits = $clog2(COLUMNS + 1)
) (
    input logic clk,
    // Back to the first line.
    input logic restart,
    input logic run,
    // How many inputs there are.
    input logic [ColumnBits-1:0] columns,
    // Whether a queue is full.
    input logic full,
    input logic load,
    input logic [ColumnBits-1:0] load_column,
    input logic signed [X_BITS-1:0] load_x,
    output logic push,
    output logic [ColumnBits-1:0] column,
    output logic signed [X_BITS-1:0] x,
    output logic ended
);
  localparam int Lines = (COLUMNS + ELEMENTS - 1) / ELEMENTS;
  localparam int LineBits = Lines > 1 ? $clog2(Lines) : 1;
  localparam int AtBits = ELEMENTS > 1 ? $clog2(ELEMENTS) : 1;

  logic [ELEMENTS*X_BITS-1:0] lines[Lines];
  logic [ELEMENTS*X_BITS-1:0] line;
  logic line_there;
  // The column of the line's first input, and of the next line's.
  logic [ColumnBits-1:0] first;
  logic [ColumnBits-1:0] next_first;
  logic [LineBits-1:0] next_line;
  // The first input that is not done.
  logic [AtBits-1:0] from;

  logic nonzero;
  logic found;
  logic [AtBits-1:0] at;
  logic last;
  logic leave;

  always_comb begin
    nonzero = 0;
    at = 0;
    for (int i = ELEMENTS - 1; i >= 0; i--) begin
      if (line_there && AtBits'(i) >= from && line[i*X_BITS+:X_BITS] != 0) begin
        nonzero = 1;
        at = AtBits'(i);
      end
    end
  end

  assign column = first + ColumnBits'(at);
  // The last line may hold what another run left.
  assign found = nonzero && column < columns;
  assign push = run && found && !full;
  assign x = line[at*X_BITS+:X_BITS];
  assign last = at == AtBits'(ELEMENTS - 1) || column + 1 == columns;
  assign leave = run && !ended && (!found || push && last);

  always_ff @(posedge clk) begin
    if (restart) begin
      line_there <= 0;
      next_line <= 0;
      next_first <= 0;
      ended <= 0;
    end else if (leave) begin
      line <= lines[next_line];
      first <= next_first;
      from <= 0;
      line_there <= next_first < columns;
      ended <= next_first >= columns;
      next_line <= next_line + 1;
      next_first <= next_first + ColumnBits'(ELEMENTS);
    end else if (push) begin
      from <= at + 1;
    end
  end

  logic [LineBits-1:0] load_line;
  logic [AtBits-1:0] load_at;
  assign load_line = LineBits'(load_column / ColumnBits'(ELEMENTS));
  assign load_at = AtBits'(load_column % ColumnBits'(ELEMENTS));
  always_ff @(posedge clk) if (load) lines[load_line][load_at*X_BITS+:X_BITS] <= load_x;
endmodule
