// A processing element of EIE: its rows of the matrix, as codes and gaps by column, times the inputs that come
// through its queue.
//
// It takes an input from the queue and reads both ends of its column in the same cycle; from the next on it issues an
// entry a cycle. A column of which it has nothing costs a cycle. Code, product, sum and write are a cycle each
// behind the issue, so memories are read a cycle before they are used and a sum that is not written yet is passed on.
module eie_pe #(
    parameter int QUEUE_SLOTS = 8,
    parameter int GAP_BITS = 4,
    parameter int CODE_BITS = 4,
    parameter int LINE_BITS = 64,
    parameter int COLUMNS = 4224,
    // Lines of the weight memory.
    parameter int LINES = 4096,
    // Rows at most.
    parameter int ROWS = 16,
    parameter int W_BITS = 16,
    parameter int X_BITS = 16,
    parameter int SUM_BITS = 48,
    parameter bit GATED = 1,
    // Whether it counts where its cycles go.
    parameter bit COUNTERS = 1,
    localparam int ColumnBits = $clog2(COLUMNS + 1),
    localparam int RowBits = ROWS > 1 ? $clog2(ROWS) : 1,
    localparam int LineBits = LINES > 1 ? $clog2(LINES) : 1
) (
    input logic clk,
    // Empties queue and counters; memories keep what they hold.
    input logic restart,
    input logic run,
    // An input for the queue.
    input logic push,
    input logic [ColumnBits-1:0] push_column,
    input logic signed [X_BITS-1:0] push_x,
    output logic full,
    // Whether the queue of any element is full, and whether the scan is over.
    input logic any_full,
    input logic ended,
    output logic at_rest,
    // What fills the memories before a run.
    input logic load_pointer,
    input logic load_line,
    input logic load_codebook,
    input logic load_sum,
    input logic [19:0] load_at,
    input logic [63:0] load_value,
    // Sums behind a run, and counters: busy, filler, pointer, imbalance, starved, done, reads of lines.
    input logic [19:0] read_at,
    output logic signed [SUM_BITS-1:0] read_sum,
    output logic [31:0] read_counter
);
  /*verilator no_inline_module*/
  localparam int EntryBits = GAP_BITS + CODE_BITS;
  localparam int SlotBits = $clog2(LINE_BITS / EntryBits);
  localparam int PlaceBits = LineBits + SlotBits + 1;
  localparam int QueueBits = $clog2(QUEUE_SLOTS);
  localparam int Pairs = COLUMNS / 2 + 1;
  localparam int PairBits = $clog2(Pairs);

  // The queue: a ring that holds one less than its slots.
  logic [ColumnBits-1:0] queue_column[QUEUE_SLOTS];
  logic signed [X_BITS-1:0] queue_x[QUEUE_SLOTS];
  logic [QueueBits-1:0] head;
  logic [QueueBits-1:0] tail;
  logic [QueueBits-1:0] tail_next;
  logic empty;
  logic take;

  function automatic logic [QueueBits-1:0] after(input logic [QueueBits-1:0] slot);
    after = slot == QueueBits'(QUEUE_SLOTS - 1) ? '0 : slot + 1'b1;
  endfunction

  assign tail_next = after(tail);
  assign full = tail_next == head;
  assign empty = head == tail;

  always_ff @(posedge clk) begin
    if (restart) begin
      head <= 0;
      tail <= 0;
    end else begin
      if (take) head <= after(head);
      if (push) tail <= tail_next;
    end
    if (push) begin
      queue_column[tail] <= push_column;
      queue_x[tail] <= push_x;
    end
  end

  // Where columns begin: even ones and odd ones in a bank each, so that both ends of a column are one read.
  logic [PlaceBits-1:0] even[Pairs];
  logic [PlaceBits-1:0] odd[Pairs];
  logic [PlaceBits-1:0] even_q;
  logic [PlaceBits-1:0] odd_q;
  logic from_odd;
  logic [ColumnBits-1:0] next_column;
  logic [PairBits-1:0] pair;
  logic [PairBits-1:0] load_pair;

  assign next_column = queue_column[head];
  assign pair = PairBits'(next_column >> 1);
  assign load_pair = PairBits'(load_at >> 1);

  always_ff @(posedge clk) begin
    if (take) begin
      even_q <= even[pair+PairBits'(next_column[0])];
      odd_q <= odd[pair];
      from_odd <= next_column[0];
    end
    if (load_pointer && !load_at[0]) even[load_pair] <= load_value[PlaceBits-1:0];
    if (load_pointer && load_at[0]) odd[load_pair] <= load_value[PlaceBits-1:0];
  end

  // Issue: the column that it works on, and the place of the next entry.
  logic there;
  logic fresh;
  logic signed [X_BITS-1:0] column_x;
  logic [PlaceBits-1:0] place_q;
  logic [PlaceBits-1:0] place;
  logic [PlaceBits-1:0] column_end;
  logic issue;
  logic finished;

  assign place = fresh ? (from_odd ? odd_q : even_q) : place_q;
  assign column_end = from_odd ? even_q : odd_q;
  assign issue = run && there && place != column_end;
  assign finished = !there || place + PlaceBits'(issue) == column_end;
  assign take = run && finished && !empty;
  assign at_rest = empty && !there;

  always_ff @(posedge clk) begin
    if (restart) there <= 0;
    else there <= take || there && !finished;
    fresh <= take;
    place_q <= place + PlaceBits'(issue);
    if (take) column_x <= queue_x[head];
  end

  // The weight memory; a line that was read last is still there.
  logic [LINE_BITS-1:0] lines[LINES];
  logic [LINE_BITS-1:0] line;
  logic [LineBits-1:0] line_at;
  logic line_there;
  logic [LineBits-1:0] wanted;
  logic read_line;

  assign wanted = place[SlotBits+:LineBits];
  assign read_line = issue && !(line_there && line_at == wanted);

  always_ff @(posedge clk) begin
    if (restart) line_there <= 0;
    else if (read_line) line_there <= 1;
    if (read_line) begin
      line <= lines[wanted];
      line_at <= wanted;
    end
    if (load_line) lines[load_at[LineBits-1:0]] <= load_value[LINE_BITS-1:0];
  end

  // Code: the row by the gaps, the weight by the codebook. Code 0 only carries a gap on.
  logic entry_there;
  logic entry_first;
  logic [SlotBits-1:0] slot;
  logic signed [X_BITS-1:0] entry_x;
  logic [EntryBits-1:0] entry;
  logic [CODE_BITS-1:0] code;
  logic [GAP_BITS-1:0] gap;
  logic [RowBits-1:0] next_row;
  logic [RowBits-1:0] row;
  logic multiplies;
  logic signed [W_BITS-1:0] codebook[1<<CODE_BITS];
  logic signed [W_BITS-1:0] weight;

  assign entry = line[slot*EntryBits+:EntryBits];
  assign {gap, code} = entry;
  assign row = (entry_first ? RowBits'(0) : next_row) + RowBits'(gap);
  assign multiplies = entry_there && code != 0;
  assign weight = codebook[code];

  always_ff @(posedge clk) begin
    entry_there <= issue && !restart;
    if (issue) begin
      entry_first <= fresh;
      slot <= place[SlotBits-1:0];
      entry_x <= column_x;
    end
    if (entry_there) next_row <= row + 1'b1;
    if (load_codebook) codebook[load_at[CODE_BITS-1:0]] <= load_value[W_BITS-1:0];
  end

  // Product, sum and write.
  logic [RowBits-1:0] row_product;
  logic [RowBits-1:0] row_sum;
  logic [RowBits-1:0] row_write;
  logic signed [SUM_BITS-1:0] sums[ROWS];
  logic signed [SUM_BITS-1:0] sum_before;
  logic signed [SUM_BITS-1:0] sum_after;
  logic signed [SUM_BITS-1:0] sum_q;
  logic summed;
  logic writes;

  gated_mac #(
      .W_BITS(W_BITS),
      .X_BITS(X_BITS),
      .SUM_BITS(SUM_BITS),
      .GATED(GATED)
  ) mac (
      .clk,
      .enable(multiplies),
      .w(weight),
      .x(entry_x),
      .sum_before,
      .sum_after,
      .live(summed)
  );

  assign sum_before = writes && row_write == row_sum ? sum_q : sums[row_sum];
  assign read_sum = sums[read_at[RowBits-1:0]];

  always_ff @(posedge clk) begin
    row_product <= row;
    row_sum <= row_product;
    row_write <= row_sum;
    writes <= summed;
    if (summed) sum_q <= sum_after;
    if (writes) sums[row_write] <= sum_q;
    if (load_sum) sums[load_at[RowBits-1:0]] <= load_value[SUM_BITS-1:0];
  end

  generate
    if (COUNTERS) begin : g_counters
      logic [31:0] busy;
      logic [31:0] filler;
      logic [31:0] pointer;
      logic [31:0] imbalance;
      logic [31:0] starved;
      logic [31:0] done;
      logic [31:0] line_reads;

      always_ff @(posedge clk) begin
        if (restart) begin
          busy <= 0;
          filler <= 0;
          pointer <= 0;
          imbalance <= 0;
          starved <= 0;
          done <= 0;
          line_reads <= 0;
        end else begin
          // What an entry is shows a cycle behind its issue.
          if (multiplies) busy <= busy + 1;
          if (entry_there && !multiplies) filler <= filler + 1;
          if (read_line) line_reads <= line_reads + 1;
          if (run) begin
            if (there) begin
              if (!issue) pointer <= pointer + 1;
            end else if (!empty) starved <= starved + 1;
            else if (ended) done <= done + 1;
            else if (any_full) imbalance <= imbalance + 1;
            else starved <= starved + 1;
          end
        end
      end

      always_comb begin
        case (read_at[2:0])
          3'd0: read_counter = busy;
          3'd1: read_counter = filler;
          3'd2: read_counter = pointer;
          3'd3: read_counter = imbalance;
          3'd4: read_counter = starved;
          3'd5: read_counter = done;
          default: read_counter = line_reads;
        endcase
      end
    end else begin : g_no_counters
      assign read_counter = 0;
      logic unused;
      assign unused = &{1'b0, any_full, ended};
    end
  endgenerate

  logic unused_bits;
  assign unused_bits = &{1'b0, load_at, load_value, read_at};
endmodule
