/** @import {Conversation, VoiceState} from "/sdk/voice.js" */
/** @import {Recogniser} from "/sdk/voice_recogniser.js" */

import { found } from "./dom.js";

const WHY_NOT = /** @type {Record<string, string>} */ ({
  denied: "The microphone was refused.",
  missing: "There is no microphone.",
  unsupported: "This browser gives no microphone to this page.",
  failed: "The microphone does not work.",
  stopped: "The conversation is over.",
});
const STATES = /** @type {Record<VoiceState, string>} */ ({
  off: "Quiet",
  listening: "Listening",
  hearing: "You speak",
  deciding: "Was that all?",
  thinking: "One moment",
  speaking: "Speaking",
  paused: "Paused",
});

/** Why a recogniser understands nothing until there is a microphone. */
const NOT_NOW = /** @type {Record<string, string | undefined>} */ ({
  "not-allowed": WHY_NOT["denied"],
  "audio-capture": WHY_NOT["missing"],
});

const KEY = matchMedia("(pointer: coarse)").matches ? "button" : "space bar";

/** The controls below the conversation, and the light that shows who has the floor. */
export class Desk {
  #conversation;
  #parts = {
    orb: found("orb", HTMLElement),
    state: found("state", HTMLElement),
    hint: found("hint", HTMLElement),
    notice: found("notice", HTMLElement),
    microphone: found("microphone", HTMLButtonElement),
    key: found("key", HTMLButtonElement),
    sound: found("sound", HTMLButtonElement),
    stop: found("stop", HTMLButtonElement),
  };
  #recogniser;
  #understands;

  /**
   * @param {Conversation} conversation
   * @param {{recogniser: Recogniser | null, sound: (on: boolean) => void}} world Who understands
   *   speech, and who turns the sound on and off.
   */
  constructor(conversation, { recogniser, sound }) {
    this.#conversation = conversation;
    this.#recogniser = recogniser;
    this.#understands = recogniser !== null;
    const { microphone, stop, sound: aloud } = this.#parts;
    microphone.onclick = () => this.#toggleMicrophone();
    stop.onclick = () => void conversation.interrupt();
    aloud.onclick = () => {
      const on = aloud.ariaPressed !== "true";
      aloud.ariaPressed = String(on);
      sound(on);
    };
    this.#holdToTalk();
    conversation.on("state", () => this.show());
    conversation.on("played", () => this.show());
    conversation.on("level", ({ levelDb, thresholdDb }) => this.#showLevel(levelDb, thresholdDb));
    conversation.on("mute", (reason) => {
      this.#understands = false;
      if (!NOT_NOW[reason]) this.#recogniser = null;
      const why = conversation.handsFree ? undefined : NOT_NOW[reason]; // else it is not for want of one
      this.tell(`${why ?? "This browser understands no speech here."} Type instead.`);
      this.show();
    });
    conversation.on("lost", () => this.#without("The microphone is gone."));
    conversation.on("refused", (error) => this.tell(error.message));
    if (recogniser === null) this.tell("This browser understands no speech. Type instead.");
    this.show();
  }

  /** Say why there is no microphone, and what can be done. @param {string} reason */
  refused(reason) {
    this.#without(WHY_NOT[reason] ?? WHY_NOT["failed"] ?? "");
  }

  /** @param {string} why There is no microphone, which most recognisers need. */
  #without(why) {
    this.#understands = this.#recogniser?.needsNoMicrophone === true;
    const instead = this.#understands ? "Hold the button or the space bar to talk, or type." : "Type instead.";
    this.tell(`${why} ${instead}`);
    this.show();
  }

  /** @param {string} text */
  tell(text) {
    this.#parts.notice.textContent = text;
    this.#parts.notice.hidden = text === "";
  }

  /** Show who has the floor. */
  show() {
    const { state, player, handsFree } = this.#conversation;
    const { key, microphone, stop } = this.#parts;
    const isLocked = state === "speaking" && player.playing?.isProtected === true;
    document.body.dataset["state"] = state;
    document.body.dataset["locked"] = String(isLocked);
    const waits = state === "deciding" && player.state === "paused";
    const isReady = state === "listening" && !handsFree;
    document.body.dataset["ready"] = String(isReady);
    this.#say(this.#parts.state, waits ? "Was that for me?" : isReady ? "Ready" : STATES[state]);
    this.#say(this.#parts.hint, isLocked ? "This has to be heard to its end." : this.#hint(state));
    microphone.ariaPressed = String(handsFree);
    key.disabled = !this.#understands || state === "off";
    microphone.disabled = state === "off";
    stop.disabled = player.state === "silent" && state !== "thinking";
  }

  /** @param {VoiceState} state */
  #hint(state) {
    const { handsFree } = this.#conversation;
    if (state === "speaking") {
      if (handsFree) return "Talk to cut in.";
      return this.#understands ? `Hold the ${KEY} to cut in.` : "Type to cut in.";
    }
    if (state !== "listening" || handsFree) return "";
    return this.#understands ? `Hold the ${KEY} to talk.` : "Type to talk.";
  }

  /** @param {HTMLElement} element @param {string} text */
  #say(element, text) {
    if (element.textContent !== text) element.textContent = text; // or it is read out again
  }

  /** @param {number} levelDb @param {number} thresholdDb */
  #showLevel(levelDb, thresholdDb) {
    const loud = Math.min(1, Math.max(0, (levelDb - thresholdDb + 12) / 36));
    this.#parts.orb.style.setProperty("--level", loud.toFixed(3));
  }

  async #toggleMicrophone() {
    if (this.#conversation.handsFree) {
      this.#conversation.deafen();
      this.#understands = this.#recogniser !== null; // it may have had to share the microphone
      this.show();
      this.#parts.orb.style.removeProperty("--level");
    } else await this.listen();
  }

  /** Ask for the microphone; where there is none, say what to do instead. */
  async listen() {
    try {
      await this.#conversation.listen();
      if (this.#conversation.handsFree) {
        this.#understands = this.#recogniser !== null;
        if (this.#understands) this.tell("");
      }
    } catch (error) {
      this.refused(/** @type {any} */ (error).reason);
    }
    this.show();
  }

  #holdToTalk() {
    const { key } = this.#parts;
    const conversation = this.#conversation;
    const press = () => {
      key.ariaPressed = "true";
      conversation.press();
    };
    const release = () => {
      key.ariaPressed = "false";
      conversation.release();
    };
    key.onpointerdown = (event) => {
      key.setPointerCapture(event.pointerId);
      press();
    };
    key.onpointerup = key.onpointercancel = key.onblur = release;
    // Who can't hold it, as with a screen reader, presses it twice: such clicks count none.
    key.onclick = ({ detail }) => {
      if (detail === 0) (key.ariaPressed === "true" ? release : press)();
    };
    key.oncontextmenu = (event) => event.preventDefault(); // a long touch is what it is for
    const isForUs = (/** @type {KeyboardEvent} */ event) =>
      event.code === "Space" &&
      !key.disabled &&
      (event.target === key || event.target === document.body || event.target === found("talk", HTMLElement));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") void conversation.interrupt();
      if (event.key === "Enter" && event.repeat && event.target === key) event.preventDefault();
      if (!isForUs(event)) return;
      event.preventDefault();
      if (!event.repeat) press();
    });
    document.addEventListener("keyup", (event) => {
      if (event.code !== "Space") return;
      if (isForUs(event)) event.preventDefault(); // or it would be a click
      release();
    });
    addEventListener("blur", release);
  }
}
