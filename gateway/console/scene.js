/** @import {Session} from "/sdk/index.js" */
/** @import {View} from "/sdk/view.js" */
/** @import {Chronicle} from "./chronicle.js" */
/** @import {Mode} from "./route.js" */

/**
 * What all panels draw.
 *
 * @typedef {object} Scene
 * @property {View} view
 * @property {Chronicle} chronicle
 * @property {Mode} mode
 * @property {Session | null} session Whom to say things to; null in a replay.
 * @property {number} seenSeq What had happened before this page came to it.
 * @property {() => number} nowMs The time in the scene, UTC.
 */

export {};
