/** @import {Session} from "./session.js" */
/** @import {Hold, Player} from "./voice_player.js" */

/** A voice over the tail of an answer that is over for the server is decided here, after this. */
const ALONE_MS = 700;
/** A server that has not answered by then is not there, for whoever speaks now. */
const ANSWER_MS = 1000;
/** Longer than any decision of a server's; a hold that nobody ends is none. */
const LONGEST_HOLD_MS = 8000;
/** How long the server may need to stop an answer when words were said with the key held. */
const ANSWERED_MS = 2000;

/**
 * Who may speak: it holds the agent when a voice is heard, and lets it go on, or drops what it had
 * to say, when that is decided. The server decides where its turn is still open, and the line is
 * up; else it is done here, and any words will do.
 */
export class Floor {
  /** Whether nobody else decides about this voice. */
  #alone = false;
  /** Whether the voice, or the key, still lasts. */
  #lasts = false;
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #timers = new Map();
  #session;
  #player;
  #tell;
  #cut;

  /**
   * @param {Session} session
   * @param {Player} player
   * @param {{tell: (notice: "held" | "released", by: Hold) => void, cut: () => void}} does `cut`
   *   stops the open turn.
   */
  constructor(session, player, { tell, cut }) {
    this.#session = session;
    this.#player = player;
    this.#tell = tell;
    this.#cut = cut;
  }

  get #open() {
    return this.#session.view.session.turn_id;
  }

  /** The turn that is spoken, or is to be: a voice now is one over it. */
  get turnId() {
    return this.#player.playing?.turnId ?? this.#open;
  }

  /** Take in that a voice begins. @param {"voice" | "key"} by */
  taken(by) {
    this.#stop("alone");
    if (by === "key") this.#stop("key");
    this.#lasts = true;
    const { turnId } = this;
    this.later("answer", ANSWER_MS, () => this.noted(turnId, false));
    const { playing } = this.#player;
    const mayHold = playing ? !playing.isProtected : this.#open !== null;
    if (by === "key" || mayHold) this.hold(by);
  }

  /** Take in that it ends. */
  left() {
    this.#lasts = false;
    if (this.#alone) this.later("alone", ALONE_MS, () => this.release("voice"));
  }

  /**
   * Take in whether the server knows of the voice over a turn: it has said `pause`, or won't.
   *
   * @param {string | null} turnId
   * @param {boolean} answered
   */
  noted(turnId, answered) {
    this.#stop("answer");
    const { holds, playing } = this.#player;
    if (holds.has("server") || turnId === null || turnId !== this.turnId) return;
    if (answered && (!playing || this.#open === turnId)) this.release("voice");
    else this.#decideHere();
  }

  /** The line is down: what the server held it can't let go, and what it will say comes late. */
  #lost() {
    const { holds } = this.#player;
    if (this.#alone) return;
    if (holds.has("server")) {
      this.hold("voice");
      this.release("server");
    }
    this.#decideHere();
  }

  #decideHere() {
    if (this.#player.holds.size === 0) return;
    this.#alone = true;
    if (!this.#lasts) this.left();
  }

  /** Take in that a turn was ended by the key: what is being said is about to be stopped. */
  ended() {
    if (this.#player.state === "silent") this.release("key");
    else this.later("key", ANSWERED_MS, () => this.release("key"));
  }

  /** Take in that somebody said something. */
  worded() {
    if (!this.#alone) return;
    this.#alone = false;
    const { playing } = this.#player;
    if (playing && playing.turnId === this.#open) this.#cut();
    else this.#player.stop(); // for the server the answer is over: these words begin a turn
  }

  /** @param {Hold} by */
  hold(by) {
    this.#player.hold(by);
    this.#tell("held", by);
    if (by !== "key") this.later(by, LONGEST_HOLD_MS, () => this.release(by));
  }

  /** @param {Hold} by */
  release(by) {
    this.#stop(by);
    if (by === "voice") this.#alone = false;
    if (!this.#player.holds.has(by)) return;
    this.#player.release(by);
    this.#tell("released", by);
  }

  /** Do what the server decides. @returns {(() => void)[]} Each stops listening to it. */
  follow() {
    const session = this.#session;
    const player = this.#player;
    const drop = (/** @type {{turn_id: string | null}} */ { turn_id: id }) => {
      this.#alone = false;
      player.drop((turnId) => turnId === id);
      if (this.#timers.has("key")) this.release("key");
    };
    const goOn = () => {
      this.release("server");
      this.release("voice");
    };
    return [
      session.on("turn.start", ({ turn_id: id }) => {
        player.drop((turnId) => turnId !== id);
        if (this.#timers.has("key")) this.release("key");
      }),
      session.on("flush", drop),
      session.on("cancel.requested", drop),
      session.on("tts.chunk", ({ payload }) => {
        if (payload.protected && player.playing === null) this.release("voice");
      }),
      session.on("pause", ({ turn_id: id }) => {
        if (id !== player.playing?.turnId && id !== this.#open) return;
        this.#alone = false;
        this.hold("server");
      }),
      session.on("unpause", goOn),
      session.on("playback.resumed", goOn),
      session.on("connection", ({ state }) => {
        if (state !== "live") this.#lost();
      }),
      session.on("reset", () => player.drop(() => true)),
    ];
  }

  /**
   * Do something in a while, unless the same comes in between.
   *
   * @param {string} name
   * @param {number} ms
   * @param {() => void} act
   */
  later(name, ms, act) {
    this.#stop(name);
    const due = () => {
      this.#timers.delete(name);
      act();
    };
    this.#timers.set(name, setTimeout(due, ms));
  }

  /** Do not do it; true where it was to come. @param {string} name */
  notNow(name) {
    return this.#stop(name);
  }

  /** Forget all that is to come. */
  close() {
    for (const name of [...this.#timers.keys()]) this.#stop(name);
  }

  /** @param {string} name */
  #stop(name) {
    clearTimeout(this.#timers.get(name));
    return this.#timers.delete(name);
  }
}
