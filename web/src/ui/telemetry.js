// A record of what was on the screen, for measuring from outside: see docs/live-page.md.
const KEPT = 180; // seconds

export class Telemetry {
  constructor() {
    this.rows = [];
  }

  add(row) {
    this.rows.push(row);
    if (row.at - this.rows[0].at > KEPT + 10) this.rows.splice(0, this.rows.findIndex((one) => row.at - one.at <= KEPT));
  }
}
