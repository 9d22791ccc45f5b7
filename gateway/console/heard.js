/** @import {Scene} from "./scene.js" */
/** @import {Talk} from "./talk.js" */

/** Tells the server how much of a running answer is before somebody's eyes, and no more. */
export class Heard {
  #told = "";

  /**
   * @param {Scene | null} scene
   * @param {Talk} talk
   */
  draw(scene, talk) {
    if (scene?.mode !== "drive" || !scene.session) return;
    const { turn_id: turnId } = scene.view.session;
    const text = turnId === null ? null : talk.shown(turnId);
    if (turnId === null || !text) return;
    const told = `${scene.session.id} ${turnId} ${text.length}`;
    if (told === this.#told) return;
    this.#told = told;
    scene.session.shown(turnId, text);
  }
}
