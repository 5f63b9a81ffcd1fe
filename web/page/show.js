// What the page shows of a network and its answers.

import { bytes, count, micro, ratio, share, time } from './units.js';

/** Weights that are drawn, the largest first, and how wide at most. */
const MOST_PICTURES = 32;
const SIDE = 260;
const TOP = 5;

/** An element with attributes and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function bar(part) {
  return `--share: ${(100 * Math.min(1, Math.max(0, part))).toFixed(1)}%`;
}

/** The likeliest classes: `{ name, probability }`, the likeliest first. */
export function ranked(scores, about) {
  const names = about.metadata.classes?.split('\n') ?? [];
  const top = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  const powers = about.ends_in_softmax ? [...scores] : Array.from(scores, (score) => Math.exp(score - top));
  const sum = about.ends_in_softmax ? 1 : powers.reduce((all, power) => all + power, 0);
  return powers
    .map((power, index) => ({ name: names[index] ?? String(index), probability: power / sum }))
    .sort((a, b) => b.probability - a.probability);
}

export function answer(list, output, classes) {
  output.textContent = classes[0]?.name ?? '–';
  const items = classes.slice(0, TOP).map(({ name, probability }) =>
    element('li', { style: bar(probability) }, element('span', {}, name), element('span', {}, share(probability))));
  list.replaceChildren(...items);
}

/** Bytes, weights left and time, before and after. */
export function sides(place, small, twin, times) {
  const side = (title, big, rows) =>
    element('div', { class: 'side' }, element('p', { class: 'soft' }, title), element('p', { class: 'big' }, big),
      element('dl', {}, ...rows.flatMap(([name, figure, part, kind]) => [
        element('dt', {}, name), element('dd', {}, figure),
        element('div', { class: `meter ${kind}` }, element('i', { style: bar(part) })),
      ])));
  const cards = [
    side('bytes', twin ? `${ratio(twin.bytes, small.bytes)}× smaller` : bytes(small.bytes), [
      ...(twin ? [['dense, f32', bytes(twin.bytes), 1, 'before']] : []),
      ['this file', bytes(small.bytes), twin ? small.bytes / twin.bytes : 1, 'after'],
    ]),
    side('weights', `${share(small.nonzeros / Math.max(1, small.parameters))} left`, [
      ['dense', count(small.parameters), 1, 'before'],
      ['not zero', count(small.nonzeros), small.nonzeros / Math.max(1, small.parameters), 'after'],
    ]),
  ];
  if (times) {
    const [after, before] = times;
    const most = Math.max(after, before ?? 0);
    const faster = before && (after <= before ? `${ratio(before, after)}× faster` : `${ratio(after, before)}× slower`);
    cards.push(side('time of a run', faster ?? time(after), [
      ...(before ? [['dense, f32', time(before), before / most, 'before']] : []),
      ['this file', time(after), after / most, 'after'],
    ]));
  }
  place.replaceChildren(...cards);
}

/** A row a step; steps of the dense network stand beside those of the same name. */
export function layers(table, after, before) {
  const dense = new Map(before?.map((step) => [step.name, step.microseconds]));
  const row = (...cells) => element('tr', {}, ...cells.map((cell) => element('td', {}, cell)));
  const headings = ['layer', 'kernel', 'dense', 'this file', 'multiplies', 'of'];
  const rows = after.map((step) => {
    const beside = dense.get(step.name);
    dense.delete(step.name);
    return row(step.name, kernel(step.kernel), beside === undefined ? '' : micro(beside), micro(step.microseconds),
      step.macs ? count(step.nonzero_macs) : '', step.macs ? count(step.macs) : '');
  });
  const rest = [...dense.values()].reduce((all, us) => all + us, 0);
  if (dense.size) rows.push(row(`${dense.size} more of the dense one`, '', micro(rest), '', '', ''));
  const sum = (steps, of) => steps.reduce((all, step) => all + step[of], 0);
  rows.push(row('all', '', before ? micro(sum(before, 'microseconds')) : '', micro(sum(after, 'microseconds')),
    count(sum(after, 'nonzero_macs')), count(sum(after, 'macs'))));
  table.replaceChildren(
    element('thead', {}, element('tr', {}, ...headings.map((heading) => element('th', {}, heading)))),
    element('tbody', {}, ...rows));
}

/** A kernel's name without the parts that all of them share. */
function kernel(name) {
  return name.replace(/__.*$/, '').replaceAll('_', ' ');
}

/** A picture for each large weight; `picture(index, side)` gives it. */
export async function weights(place, about, picture, still) {
  const matrices = about.weights
    .map((weight, index) => ({ ...weight, index, elements: weight.shape.reduce((a, b) => a * b, 1) }))
    .filter((weight) => weight.shape.length > 1);
  const drawn = matrices.toSorted((a, b) => b.elements - a.elements).slice(0, MOST_PICTURES);
  const figures = [];
  for (const weight of matrices.filter((weight) => drawn.includes(weight))) {
    const stored = weight.bytes === null ? '' : `, ${bytes(weight.bytes)} in the file`;
    const note = `${weight.shape.join(' × ')}, ${count(weight.nonzeros)} of ${count(weight.elements)} left${stored}`;
    const tile = element('div', {}, element('h3', {}, weight.name), element('p', { class: 'soft' }, note));
    if (weight.nonzeros < weight.elements) tile.append(canvas(await picture(weight.index, SIDE), weight.name));
    figures.push(tile);
    if (!still()) return;
  }
  if (drawn.length < matrices.length) {
    figures.push(element('p', { class: 'soft' }, `${matrices.length - drawn.length} smaller layers are not drawn.`));
  }
  place.replaceChildren(...figures);
}

function canvas({ width, height, shades }, name) {
  const made = element('canvas', { width, height, role: 'img', 'aria-label': `Which weights of ${name} are left` });
  const context = made.getContext('2d');
  const image = context.createImageData(width, height);
  shades.forEach((shade, index) => image.data.set([242, 140, 56, shade], 4 * index));
  context.putImageData(image, 0, 0);
  return made;
}
