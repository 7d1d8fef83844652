// Server-sent events by fetch: so that a token can go along, and what is wrong can be told.

const SILENT_MS = 10_000; // An event comes every second.
const HIDDEN_MS = 60_000; // A tab that nobody sees lets go of the feed after so long.
const PAUSES_MS = [500, 1000, 2000, 4000, 5000];

/** Reads the feed for ever; `on` has connecting(), event(content), away(since, why), refused(status, message). */
export class Feed {
  #on;
  #token = null;
  #abort = null;
  #wake = () => {};
  #awaySince = null;
  #hiding = null;

  constructor(on) {
    this.#on = on;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  /** With this token from now on, at once. */
  use(token) {
    this.#token = token;
    this.#wake();
  }

  async run() {
    for (let tries = 0; ; tries++) {
      this.#on.connecting(this.#awaySince);
      let why = "it has ended the connection";
      try {
        const refused = await this.#read(() => {
          tries = 0;
          this.#awaySince = null;
        });
        if (refused) {
          await new Promise((resolve) => (this.#wake = resolve));
          continue;
        }
      } catch (error) {
        why = error?.name === "AbortError" ? "it is silent" : "it can't be reached";
      }
      if (document.hidden) await visible();
      this.#awaySince ??= Date.now();
      this.#on.away(this.#awaySince, why);
      const pause = PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)];
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, pause * (0.75 + Math.random() / 2));
      });
    }
  }

  /** Until it ends; true where this viewer is not let in. */
  async #read(onFirst) {
    const abort = (this.#abort = new AbortController());
    let timer = setTimeout(() => abort.abort(), SILENT_MS);
    try {
      const headers = this.#token ? { authorization: `Bearer ${this.#token}` } : {};
      const url = new URL("dashboard/feed", document.baseURI);
      const answer = await fetch(url, { headers, cache: "no-store", signal: abort.signal });
      if (answer.status === 401 || answer.status === 403) {
        const body = await answer.json().catch(() => ({}));
        this.#on.refused(answer.status, body.error?.message ?? "", this.#token !== null);
        return true;
      }
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return false;
        clearTimeout(timer);
        timer = setTimeout(() => abort.abort(), SILENT_MS);
        text += value;
        const events = text.split("\n\n");
        text = events.pop();
        for (const event of events) {
          const data = event.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
          if (data.length) {
            onFirst();
            this.#on.event(JSON.parse(data.join("\n")));
          }
        }
      }
    } finally {
      clearTimeout(timer);
      abort.abort();
    }
  }

  #onVisibility() {
    clearTimeout(this.#hiding);
    if (!document.hidden) this.#wake();
    else this.#hiding = setTimeout(() => this.#abort?.abort(), HIDDEN_MS);
  }
}

function visible() {
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    check();
  });
}
