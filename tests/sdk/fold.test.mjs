// The JavaScript fold against the server's, at every moment that the vectors show.
// VECTORS names a directory of them.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Gate } from "../../sdk/javascript/src/gate.js";
import { View } from "../../sdk/javascript/src/view.js";

const directory = process.env.VECTORS;
const names = readdirSync(directory).filter((name) => name.endsWith(".json"));
assert.ok(names.length > 0, "there are vectors");

for (const name of names) {
  test(`the views are the server's: ${name}`, () => {
    const { events, views } = JSON.parse(readFileSync(join(directory, name), "utf8"));
    const moments = new Map(views.map((moment) => [moment.session.seq, moment]));
    const view = new View(new Gate());
    let looked = 0;
    for (const event of events) {
      view.apply(event);
      // Looked at each time, so that nothing that was kept is older than it should be.
      const now = {
        transcript: view.transcript,
        plan: view.plan,
        actions: view.actions,
        latency: view.latency,
        session: view.session,
      };
      const moment = moments.get(event.seq);
      if (moment === undefined) continue;
      assert.deepEqual(JSON.parse(JSON.stringify(now)), moment, `at seq ${event.seq}`);
      looked++;
    }
    assert.equal(looked, views.length);
  });
}
