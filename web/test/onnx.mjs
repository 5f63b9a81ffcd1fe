// ONNX files of a few bytes, as protocol buffers.

const varint = (n) => (n < 128 ? [n] : [(n % 128) + 128, ...varint(Math.floor(n / 128))]);
const number = (field, n) => [...varint(field * 8), ...varint(n)];
const message = (field, bytes) => [...varint(field * 8 + 2), ...varint(bytes.length), ...bytes];
const text = (field, string) => message(field, [...Buffer.from(string)]);

const value = (name, dims) => {
  const shape = dims.flatMap((n) => message(1, number(1, n)));
  return [...text(1, name), ...message(2, message(1, [...number(1, 1), ...message(2, shape)]))];
};

/** A network that puts its input so often behind itself. */
export function concat(dims, times) {
  const axis = [...text(1, 'axis'), ...number(3, 1), ...number(20, 2)];
  const inputs = Array(times).fill(text(1, 'x')).flat();
  const node = [...inputs, ...text(2, 'y'), ...text(4, 'Concat'), ...message(5, axis)];
  const graph = [
    ...message(1, node), ...text(2, 'wide'), ...message(11, value('x', dims)),
    ...message(12, value('y', dims.with(1, dims[1] * times))),
  ];
  return Buffer.from([...number(1, 8), ...message(7, graph), ...message(8, number(2, 13))]);
}
