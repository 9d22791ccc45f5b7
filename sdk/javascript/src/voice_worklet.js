// Runs in an AudioWorklet: says how loud the microphone is, 50 times a second.

const FRAME_S = 0.02;
/** Below 80 Hz there is hum and wind, and no voice. */
const HUM_HZ = 80;
const SILENT = 1e-5;

const { AudioWorkletProcessor, registerProcessor, sampleRate } = /** @type {any} */ (globalThis);

class Loudness extends AudioWorkletProcessor {
  #keeps = Math.exp((-2 * Math.PI * HUM_HZ) / sampleRate);
  #most = Math.round(FRAME_S * sampleRate);
  #sum = 0;
  #count = 0;
  #before = 0;
  #passed = 0;

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    for (const sample of inputs[0]?.[0] ?? []) {
      this.#passed = this.#keeps * (this.#passed + sample - this.#before);
      this.#before = sample;
      this.#sum += this.#passed * this.#passed;
      if (++this.#count === this.#most) this.#tell();
    }
    return true;
  }

  #tell() {
    const levelDb = 20 * Math.log10(Math.max(SILENT, Math.sqrt(this.#sum / this.#count)));
    const ms = (1000 * this.#count) / sampleRate;
    this.#sum = this.#count = 0;
    /** @type {any} */ (this).port.postMessage({ levelDb, ms });
  }
}

registerProcessor("bargein-loudness", Loudness);
