const KEY = "bargein.token";

/** The token of this tab: in the tab's own storage, never in an address. */
export class Credentials {
  /** @returns {string | null} */
  get token() {
    return sessionStorage.getItem(KEY);
  }

  /** The headers of a request that needs to say who asks. @returns {Record<string, string>} */
  get headers() {
    return this.token === null ? {} : { Authorization: `Bearer ${this.token}` };
  }

  /** @param {string} token */
  keep(token) {
    sessionStorage.setItem(KEY, token);
  }

  forget() {
    sessionStorage.removeItem(KEY);
  }
}
