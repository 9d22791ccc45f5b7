/** @import {Session} from "./session.js" */
/** @import {ActivityOptions} from "./voice_activity.js" */
/** @import {MicrophoneOptions} from "./voice_microphone.js" */
/** @import {Recogniser, Understood} from "./voice_recogniser.js" */
/** @import {Speaker} from "./voice_speakers.js" */

import { Listeners } from "./listeners.js";
import { VoiceActivity } from "./voice_activity.js";
import { Answers } from "./voice_answers.js";
import { Floor } from "./voice_floor.js";
import { Microphone, MicrophoneRefused, OneMicrophone } from "./voice_microphone.js";
import { Player } from "./voice_player.js";
import { Reports } from "./voice_reports.js";
import { Utterances } from "./voice_utterances.js";

export { Microphone, MicrophoneRefused, Player, VoiceActivity };
export { BrowserRecogniser } from "./voice_recogniser.js";
export { SynthesiserSpeaker, TimedSpeaker } from "./voice_speakers.js";

/**
 * `off`: nobody listens. `listening`: say something. `hearing`: you speak. `deciding`: have you
 * finished, or did you mean to interrupt? `thinking`: an answer is on its way. `speaking`: you hear
 * it. `paused`: you speak over it.
 *
 * @typedef {"off" | "listening" | "hearing" | "deciding" | "thinking" | "speaking" | "paused"
 * } VoiceState
 */

/**
 * @typedef {object} ConversationOptions
 * @property {Recogniser | null} [recogniser] Without one, words are typed.
 * @property {Speaker} [speaker] Without one, words pass in the time that they would take.
 * @property {ActivityOptions} [activity]
 * @property {() => number} [random] Chance, for tests.
 */

/**
 * What `on` tells. `level`: the microphone, and what a voice has to exceed. `mute`: the recogniser
 * understands nothing any more; after `not-allowed` and `audio-capture` it is tried again with the
 * next `listen` or `press`. `lost`: the microphone is gone. `held`, `released`: the agent fell
 * silent, or goes on, and who said so. `refused`: the server refused a report.
 *
 * @typedef {{
 *   state: VoiceState,
 *   level: {levelDb: number, thresholdDb: number},
 *   played: void,
 *   held: {by: "voice" | "server" | "key"},
 *   released: {by: "voice" | "server" | "key"},
 *   mute: string,
 *   lost: void,
 *   refused: Error,
 * }} VoiceNotices
 */

/** How long last words are waited for when the key was let go. */
const LAST_WORDS_MS = 1500;
const LAST_WORDS = "last words";
/** Why a recogniser without a microphone fails; there may be one later. */
const NOT_NOW = new Set(["not-allowed", "audio-capture"]);
const NOISES_OF_ITS_OWN = 2;

/**
 * A spoken conversation in a session: it listens, reports, plays the answers, and is silent as
 * soon as a voice is heard, long before the server knows of it.
 *
 * Lives until `stop`, or as long as the session.
 */
export class Conversation {
  #session;
  #listeners = new Listeners();
  #reports;
  #utterances;
  #recogniser;
  #microphone = new OneMicrophone((microphone) => this.#opened(microphone));
  #listening = false;
  #voice = false;
  #key = false;
  /** @type {VoiceState} */
  #told = "off";
  /** @type {(() => void)[]} */
  #leave = [];
  #floor;
  #answers;
  #noises = 0; // that held the agent, one after the other, and had no words

  /**
   * @param {Session} session
   * @param {ConversationOptions} [options]
   */
  constructor(session, { recogniser = null, speaker, activity, random } = {}) {
    this.#session = session;
    this.#recogniser = recogniser;
    this.#answers = new Answers(session);
    this.#reports = new Reports(session, (error) => {
      if (this.#listening) this.#listeners.tell("refused", error);
    });
    this.#utterances = new Utterances((type, fields) => this.#reports.send(type, fields), random);
    /** Tells voices from silence; there for whoever shows it. */
    this.activity = new VoiceActivity(activity);
    /** Plays the answers. */
    this.player = new Player(this.#reports, speaker, () => this.#tell("played"));
    this.#floor = new Floor(session, this.player, {
      tell: (notice, by) => this.#listeners.tell(notice, { by }),
      cut: () => this.#reports.heed(this.interrupt()),
    });
    this.#follow();
  }

  /** What goes on. @returns {VoiceState} */
  get state() {
    if (!this.#listening) return "off";
    const user = this.#voice || this.#key;
    if (this.player.state === "paused") return user ? "paused" : "deciding";
    if (this.player.state === "speaking") return "speaking";
    if (user) return "hearing";
    const { transcript, session } = this.#session.view;
    if (transcript.unanswered?.length) return "deciding";
    if (session.turn_id !== null) return "thinking";
    return "listening";
  }

  /** Whether a microphone is listened to. */
  get handsFree() {
    return this.#microphone.isOpen;
  }

  /**
   * Begin: answers are spoken from now on.
   *
   * @param {MicrophoneOptions | null} [microphone] Null: none is asked for, there is a key.
   * @throws {import("./voice_microphone.js").MicrophoneRefused} Everything else works;
   *   `press` and `release` do where the recogniser has `needsNoMicrophone`.
   */
  async start(microphone = {}) {
    this.#listening = true;
    // What was spoken on a page that is gone is not spoken any more.
    const chars = this.#answers.heardBefore;
    if (chars !== null) this.#reports.heed(this.#answers.stop({ heard: { chars } }));
    await this.#session.configure({ voice: true });
    this.#tell();
    if (microphone !== null) await this.listen(microphone);
  }

  /**
   * Listen to the microphone, unless `deafen` or `stop` comes before it is there.
   *
   * @param {MicrophoneOptions} [options]
   * @returns {Promise<void>} The same one while it is asked for.
   * @throws {import("./voice_microphone.js").MicrophoneRefused} As `start`; `stopped`: before
   *   `start`, and after `stop`.
   */
  listen(options = {}) {
    if (!this.#listening) return Promise.reject(new MicrophoneRefused("stopped"));
    return this.#microphone.open(options);
  }

  #opened(/** @type {Microphone} */ microphone) {
    microphone.onlevel = (levelDb, ms) => this.hear(levelDb, ms);
    microphone.onlost = () => {
      this.deafen();
      this.#listeners.tell("lost", undefined);
    };
    this.#recognise();
    this.#tell();
  }

  /** Listen no longer; `press` still works. */
  deafen() {
    this.#microphone.close();
    this.#recogniser?.stop();
    this.activity.silence();
    if (this.#voice) this.#voiceEnded();
    this.#tell();
  }

  /**
   * Take in how loud it is; the microphone does this, and anybody whose sound is elsewhere.
   *
   * @param {number} levelDb
   * @param {number} ms
   */
  hear(levelDb, ms) {
    if (!this.#listening) return;
    if (!this.#key) {
      const became = this.activity.hear(levelDb, ms, this.player.loudness);
      if (became === "began") this.#voiceBegan("voice");
      else if (became === "ended") this.#voiceEnded();
    }
    this.#listeners.tell("level", { levelDb, thresholdDb: this.activity.thresholdDb });
  }

  /** The key to talk is held: the agent is silent until `release`. */
  press() {
    if (this.#key || !this.#listening) return;
    if (this.#voice) this.#voiceEnded();
    this.activity.silence();
    this.#key = true;
    this.#voiceBegan("key");
    this.#recognise();
  }

  /** The key was let go: the turn is over as soon as the last words are there. */
  release() {
    if (!this.#key) return;
    this.#key = false;
    this.#voiceEnded();
    this.#floor.later(LAST_WORDS, LAST_WORDS_MS, () => this.#end());
    if (!this.handsFree) this.#recogniser?.stop();
    this.#tell();
  }

  /** Say typed words. @param {string} text */
  say(text) {
    return this.#session.say(text);
  }

  /** Stop the answer. */
  async interrupt() {
    const { playing, heardChars: chars } = this.player;
    const isOpen = playing?.turnId === this.#session.view.session.turn_id;
    if (playing && !isOpen) return this.player.stop();
    const answer = this.#answers.stop(chars === null ? {} : { heard: { chars } });
    this.player.drop(() => true);
    await answer;
  }

  /**
   * Listen to a notice.
   *
   * @template {keyof VoiceNotices} T
   * @param {T} type
   * @param {(value: VoiceNotices[T]) => void} listener
   * @returns {() => void} Stops listening.
   */
  on(type, listener) {
    return this.#listeners.add(type, listener);
  }

  /**
   * End: nothing is heard and nothing is spoken any more. An answer that is being spoken is stopped
   * where it was heard; the session goes on.
   */
  stop() {
    const isSpoken = this.player.playing !== null || this.#answers.heardBefore !== null;
    this.#listening = false;
    this.#key = false;
    this.deafen();
    if (isSpoken) this.#reports.heed(this.interrupt());
    this.#floor.close();
    for (const leave of this.#leave) leave();
    this.#tell();
    this.#listeners.clear();
  }

  // --- the user ----------------------------------------------------------------

  /** @param {"voice" | "key"} by */
  #voiceBegan(by) {
    this.#voice = by === "voice";
    const wasKey = this.#floor.notNow(LAST_WORDS);
    this.#floor.taken(by);
    if (wasKey && by === "voice") this.#floor.release("key");
    this.#recogniser?.voice?.(true);
    const { turnId } = this.#floor;
    this.#utterances.voiceBegan().then((answered) => this.#floor.noted(turnId, answered));
    this.#tell();
  }

  #voiceEnded() {
    this.#voice = false;
    this.#utterances.voiceEnded();
    this.#recogniser?.voice?.(false);
    this.#floor.left();
    this.#tell();
  }

  /** @param {Understood} words */
  #understood(words) {
    this.#utterances.words(words);
    if (words.text.trim()) {
      this.#noises = 0;
      this.#floor.worded();
    }
    this.#tell();
  }

  /** No more words come of those before the key was let go. */
  #wereLast() {
    if (this.#floor.notNow(LAST_WORDS)) this.#end();
  }

  /** The key was let go, and the words are what they are. */
  #end() {
    if (this.#utterances.end()) this.#floor.ended();
    else this.#floor.release("key");
  }

  #recognise() {
    this.#recogniser?.start({
      words: (words) => this.#understood(words),
      done: () => this.#wereLast(),
      failed: (reason) => {
        if (!NOT_NOW.has(reason)) this.#recogniser = null;
        this.release(); // no words will come of a key that is held
        this.#wereLast();
        this.#listeners.tell("mute", reason);
      },
    });
  }

  // --- the server --------------------------------------------------------------

  #follow() {
    const session = this.#session;
    this.#leave = [
      ...this.#floor.follow(),
      session.on("tts.chunk", (event) => {
        if (this.#listening && !this.#answers.isCut(event.turn_id)) this.player.add(event);
      }),
      session.on("turn.start", ({ payload }) => {
        this.#utterances.took((payload.utterances ?? []).map((one) => one.utterance_id));
        if (this.#utterances.current?.taken) this.#wereLast();
      }),
      session.on("playback.resumed", ({ payload }) => {
        // What is heard again and again while it speaks, and is never a word, is itself.
        const isNoise = payload.cause === "noise" && ++this.#noises >= NOISES_OF_ITS_OWN;
        if (payload.cause === "echo" || isNoise) this.activity.wasEcho();
      }),
      session.on("ended", () => this.stop()),
      session.on("view", () => this.#tell()),
    ];
  }

  /** @param {"played"} [also] */
  #tell(also) {
    const { state } = this;
    if (also) this.#listeners.tell(also, undefined);
    if (state === this.#told) return;
    this.#told = state;
    this.#listeners.tell("state", state);
  }
}
