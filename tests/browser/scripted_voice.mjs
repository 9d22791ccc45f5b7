// Runs in the page before its own scripts: a recogniser that understands what the test wants, each
// time the page hears a voice, and a synthesiser with voices, where one is asked for.

/** `script.turn` is said next in a turn, `script.over` next over the agent: else an aside. */
export function scriptedRecogniser() {
  const aside = "mhm";
  let listener;
  let key = 0;
  let said = null;
  const words = (text, final) => listener?.words({ key, text, final });
  globalThis.script = { turn: null, over: aside, heard: 0 };
  globalThis.recogniser = {
    needsNoMicrophone: true,
    start(to) {
      listener = to;
    },
    stop() {},
    voice(speaking) {
      const { script } = globalThis;
      if (speaking) {
        script.heard++;
        key++;
        const isOver = globalThis.nightline.conversation.player.state !== "silent";
        said = isOver ? script.over : script.turn;
        if (isOver) script.over = aside;
        else script.turn = null;
        if (typeof said === "string") said = { first: said, final: said };
        if (said) setTimeout(words, 120, said.first, false);
      } else if (said) {
        const last = (text) => {
          words(text, true);
          listener?.done?.();
        };
        setTimeout(last, 150, said.final);
        said = null;
      }
    },
  };
}

/** A synthesiser that says a word every fifth of a second, as the browser's would. */
export function scriptedSynthesiser() {
  const spoken = { cancelled: 0, texts: [] };
  let timer;
  let now;
  const synthesis = {
    getVoices: () => [{ name: "Test", lang: "en-GB" }],
    speak(utterance) {
      now = utterance;
      spoken.texts.push(utterance.text);
      const places = [...utterance.text.matchAll(/\S+/g)].map(({ index }) => index);
      const next = () => {
        const charIndex = places.shift();
        if (charIndex === undefined) return utterance.onend?.({});
        utterance.onboundary?.({ name: "word", charIndex });
        timer = setTimeout(next, 200);
      };
      timer = setTimeout(() => (utterance.onstart?.({}), next()), 20);
    },
    cancel() {
      clearTimeout(timer);
      spoken.cancelled++;
      const cut = now;
      now = undefined;
      setTimeout(() => cut?.onerror?.({ error: "canceled" }), 0);
    },
  };
  Object.defineProperty(globalThis, "speechSynthesis", { value: synthesis });
  globalThis.spoken = spoken;
}
