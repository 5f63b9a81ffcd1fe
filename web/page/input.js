// Where pictures come from: the pad, a photo, the camera.

import { pad } from './pad.js';
import { isPaper } from './seen.js';

const $ = (id) => document.getElementById(id);
const TABS = ['pad', 'photo', 'camera'];

export class Input {
  #tab = 'pad';
  #hints = { pad: 'Draw a digit', photo: 'Choose a picture', camera: 'Waiting for the camera' };
  #filled = { pad: false, photo: false, camera: false };
  #changed;
  #failed;
  #pad;

  /** `changed` is told when there is something else to see, `failed` what went wrong. */
  constructor(changed, failed) {
    this.#changed = changed;
    this.#failed = failed;
    this.#pad = pad($('pad'), () => this.#has('pad'));
    for (const button of document.querySelectorAll('[data-tab]')) {
      button.addEventListener('click', () => this.show(button.dataset.tab));
    }
    $('clear').addEventListener('click', () => {
      this.#pad.clear();
      this.#filled.pad = false;
      this.#update();
      changed();
    });
    $('picture').addEventListener('change', ({ target }) => {
      if (target.files[0]) this.open(target.files[0]);
      target.value = '';
    });
    $('invert').addEventListener('change', changed);
  }

  /** What is shown, and null while there is nothing. */
  get source() {
    return this.#filled[this.#tab] ? $(this.#tab) : null;
  }

  get invert() {
    return this.#tab !== 'pad' && $('invert').checked;
  }

  /** Whether there is always something new. */
  get moves() {
    return this.#tab === 'camera';
  }

  /** Networks of digits want ink. */
  takes(digits) {
    this.#hints.pad = digits ? 'Draw a digit' : 'Draw';
    $('invert').checked = digits && this.#tab !== 'pad';
    this.#update();
  }

  show(tab) {
    if (this.#tab === 'camera' && tab !== 'camera') this.#stop();
    this.#tab = tab;
    if (tab === 'camera') this.#film();
    this.#update();
    this.#changed();
  }

  /** A picture's file. */
  async open(file) {
    try {
      const picture = await createImageBitmap(file);
      const canvas = $('photo');
      const scale = Math.min(1, 1024 / Math.max(picture.width, picture.height));
      canvas.width = Math.max(1, Math.round(picture.width * scale));
      canvas.height = Math.max(1, Math.round(picture.height * scale));
      const context = canvas.getContext('2d');
      context.fillStyle = '#fff';
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      $('invert').checked = isPaper(canvas);
      this.#has('photo');
      this.show('photo');
    } catch {
      this.#failed(`${file.name}: the browser cannot read it as a picture`);
    }
  }

  #has(tab) {
    this.#filled[tab] = true;
    this.#update();
    this.#changed();
  }

  #update() {
    for (const tab of TABS) {
      document.querySelector(`[data-tab=${tab}]`).setAttribute('aria-selected', tab === this.#tab);
      $(tab).hidden = tab !== this.#tab;
    }
    $('hint').textContent = this.#hints[this.#tab];
    $('hint').hidden = this.#filled[this.#tab];
    $('clear').hidden = this.#tab !== 'pad';
    $('choose').hidden = this.#tab !== 'photo';
    $('inverting').hidden = this.#tab === 'pad';
  }

  async #film() {
    const video = $('camera');
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      if (this.#tab !== 'camera') return this.#stop();
      await video.play();
      this.#has('camera');
    } catch (error) {
      this.#hints.camera = 'No camera';
      this.#update();
      this.#failed(`The camera cannot be used: ${error.message ?? 'the page has to be served over https or by this device'}`);
    }
  }

  #stop() {
    const video = $('camera');
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
    this.#filled.camera = false;
  }
}
