// The two buffers of a group for the input under its lanes, bytes of `[y, x, channel]`: one is filled while the other is
// read. Beside each byte lies whether it is other than zero, so that a lane whose input is zero fetches nothing.
//
// All lanes read in a cycle. Neighbouring lanes read neighbouring bytes of a rectangle, which banks of one a lane give
// without conflict behind a rotation; those banks are not drawn here: the buffer is a memory of many ports.
module patch_buffer #(
    parameter int LANES = 32,
    // Of one buffer, a power of two.
    parameter int BYTES = 16384,
    parameter int BEAT_BYTES = 64,
    localparam int AtBits = $clog2(BYTES)
) (
    input logic clk,
    input logic fill,
    input logic fill_buffer,
    input logic [AtBits-1:0] fill_at,
    input logic [BEAT_BYTES*8-1:0] fill_bytes,
    // The code of zero.
    input logic [7:0] zero_point,
    // Lanes that read, in cycle t; what they read is there in t + 2.
    input logic [LANES-1:0] lanes,
    input logic read_buffer,
    input logic [AtBits-1:0] base,
    input logic [LANES*AtBits-1:0] offsets,
    output logic [LANES-1:0] live,
    output logic [LANES*8-1:0] codes
);
  logic [7:0] bytes[2*BYTES];
  logic nonzero[2*BYTES];

  always_ff @(posedge clk) begin
    if (fill) begin
      for (int i = 0; i < BEAT_BYTES; i++) begin
        // A last beat may reach beyond the buffer.
        if (AtBits'(i) + fill_at >= fill_at) begin
          bytes[{fill_buffer, fill_at+AtBits'(i)}] <= fill_bytes[i*8+:8];
          nonzero[{fill_buffer, fill_at+AtBits'(i)}] <= fill_bytes[i*8+:8] != zero_point;
        end
      end
    end
  end

  logic [LANES-1:0] finds;
  logic [LANES*(AtBits+1)-1:0] ats;

  always_ff @(posedge clk) begin
    live <= finds;
    for (int i = 0; i < LANES; i++) begin
      finds[i] <= lanes[i] && nonzero[{read_buffer, base+offsets[i*AtBits+:AtBits]}];
      ats[i*(AtBits+1)+:AtBits+1] <= {read_buffer, base + offsets[i*AtBits+:AtBits]};
      if (finds[i]) codes[i*8+:8] <= bytes[ats[i*(AtBits+1)+:AtBits+1]];
    end
  end
endmodule
