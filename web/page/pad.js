// A pad to draw on, light on dark.

const INK = 22;

/** `changed` is told while something is drawn. */
export function pad(canvas, changed) {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  let last = null;

  const clear = () => {
    context.fillStyle = '#000';
    context.fillRect(0, 0, canvas.width, canvas.height);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * (canvas.width / box.width), (event.clientY - box.top) * (canvas.height / box.height)];
  };
  const draw = (to) => {
    Object.assign(context, { strokeStyle: '#fff', lineWidth: INK, lineCap: 'round', lineJoin: 'round' });
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...to);
    context.stroke();
    last = to;
    changed();
  };
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    draw(last);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!last) return;
    for (const part of event.getCoalescedEvents?.() ?? [event]) draw(place(part));
  });
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => (last = null));
  clear();
  return { clear };
}
