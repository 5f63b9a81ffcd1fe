// Reads words that are used one behind the other ahead of their use, so that none waits for the memory.
//
// What is read are blocks of words, each several times over: the weights of a block of outputs once for every tile. It
// begins behind `restart` and stays at most four words ahead; from then on it gives a word in every cycle that takes
// one.
module stream_reader #(
    parameter int WIDTH = 40,
    parameter int WORDS = 1024,
    parameter int BLOCKS = 64
) (
    input logic clk,
    input logic restart,
    input logic load_word,
    input logic load_block,
    input logic [19:0] load_at,
    // A word, or a block: 16 bits each of its first word, their number, how often they are read, and a note.
    input logic [63:0] load_value,
    output logic there,
    output logic [WIDTH-1:0] word,
    // Whether it is the first of its block, and the block's note.
    output logic first,
    output logic [15:0] note,
    input logic take
);
  localparam int AtBits = $clog2(WORDS);
  localparam int BlockBits = BLOCKS > 1 ? $clog2(BLOCKS) : 1;

  logic [WIDTH-1:0] words[WORDS];
  logic [63:0] blocks[BLOCKS];

  always_ff @(posedge clk) begin
    if (load_word) words[load_at[AtBits-1:0]] <= load_value[WIDTH-1:0];
    if (load_block) blocks[load_at[BlockBits-1:0]] <= load_value;
  end

  // The next word to read. A block of no words is the end.
  logic [BlockBits-1:0] block;
  logic [15:0] time_;
  logic [15:0] index;
  logic [15:0] block_first;
  logic [15:0] block_words;
  logic [15:0] block_times;
  logic [15:0] block_note;
  logic last_word;
  logic reads;

  assign {block_note, block_times, block_words, block_first} = blocks[block];
  assign last_word = index + 16'd1 == block_words;

  always_ff @(posedge clk) begin
    if (restart) begin
      block <= 0;
      time_ <= 0;
      index <= 0;
    end else if (reads) begin
      index <= last_word ? 16'd0 : index + 16'd1;
      if (last_word) begin
        if (time_ + 16'd1 == block_times) begin
          time_ <= 0;
          block <= block + 1;
        end else time_ <= time_ + 16'd1;
      end
    end
  end

  // What was read and is not taken yet.
  logic [WIDTH-1:0] read_word;
  logic read_first;
  logic [15:0] read_note;
  logic under_way;
  logic [WIDTH+16:0] ahead[4];
  logic [1:0] head;
  logic [2:0] held;
  logic [15:0] place;

  assign place = block_first + index;
  assign reads = block_words != 0 && held + 3'(under_way) < 3'd4;
  assign there = held != 0;
  assign {word, first, note} = ahead[head];

  always_ff @(posedge clk) begin
    under_way <= reads && !restart;
    if (reads) begin
      read_word <= words[place[AtBits-1:0]];
      read_first <= index == 0;
      read_note <= block_note;
    end
    if (under_way) ahead[head+2'(held)] <= {read_word, read_first, read_note};
    if (restart) begin
      head <= 0;
      held <= 0;
    end else begin
      if (take) head <= head + 2'd1;
      held <= held + 3'(under_way) - 3'(take);
    end
  end

  logic unused_bits;
  assign unused_bits = &{1'b0, load_at, load_value, place};
endmodule
