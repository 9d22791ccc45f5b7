// A WebSocket that does to frames what no network should, at drawn points: it loses one, gives
// one twice, swaps two, gives old ones again, and goes on talking when it was given up.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../sdk/javascript/package.json", import.meta.url));
const WebSocket = require("ws");

const MEDDLINGS = ["none", "double", "lose", "swap", "again", "linger"];
const LINGERS_MS = 150;

/** Count what was really done, by its name. */
export const done = Object.fromEntries(MEDDLINGS.map((name) => [name, 0]));

/** Make sockets that meddle with one of their first `most` frames. */
export function meddlingWith(random, most = 30) {
  return class {
    #socket;
    #how = MEDDLINGS[Math.floor(random() * MEDDLINGS.length)];
    #at = Math.floor(random() * most);
    #frames = [];
    #held = null;
    onmessage = null;
    onclose = null;
    onerror = null;

    constructor(url, protocols) {
      this.#socket = new WebSocket(url, protocols);
      this.#socket.onmessage = ({ data }) => this.#receive(data);
      this.#socket.onclose = (event) => this.onclose?.(event);
      this.#socket.onerror = (event) => this.onerror?.(event);
    }

    get readyState() {
      return this.#socket.readyState;
    }

    send(text) {
      this.#socket.send(text);
    }

    close(code) {
      this.#socket.close(code);
    }

    terminate() {
      if (this.#how !== "linger") {
        this.#socket.terminate();
        return;
      }
      // Given up, and still there: what it says now comes in between what the next one says.
      done.linger++;
      setTimeout(() => this.#socket.terminate(), LINGERS_MS);
    }

    #receive(data) {
      const place = this.#frames.push(data) - 1;
      if (this.#held !== null) {
        const held = this.#held;
        this.#held = null;
        this.#give(data);
        this.#give(held);
        return;
      }
      if (place !== this.#at || place === 0) {
        this.#give(data);
        return;
      }
      switch (this.#how) {
        case "lose":
          // An event: what follows shows that it is missing, as nothing shows it of an answer.
          if ("event_id" in JSON.parse(data)) done.lose++;
          else this.#at++, this.#give(data);
          return;
        case "swap":
          done.swap++;
          this.#held = data;
          return;
        case "again":
          done.again++;
          this.#give(data);
          for (const old of this.#frames.slice(1, place)) this.#give(old);
          return;
        case "double":
          done.double++;
          this.#give(data);
          this.#give(data);
          return;
        default:
          this.#give(data);
      }
    }

    #give(data) {
      this.onmessage?.({ data });
    }
  };
}
