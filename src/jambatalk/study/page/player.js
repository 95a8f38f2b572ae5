// One or two videos, played alone or together, from the start to the end. There are no controls to skip with.

const APART = 0.06; // seconds that two videos may drift apart before the second is moved
const WATCHED = 0.9; // share of a video that must have been on the screen

export class Player {
  constructor(videos, onChange) {
    this.videos = videos;
    this.onChange = onChange;
    this.ended = new Set();
    this.count = 0;
    this.playing = [];
    for (const video of videos) {
      video.addEventListener("ended", () => {
        if (this.seen(video) >= WATCHED * video.duration) this.ended.add(video);
        this.playing = this.playing.filter((one) => one !== video);
        this.onChange();
      });
    }
  }

  seen(video) {
    let total = 0;
    for (let i = 0; i < video.played.length; i++) total += video.played.end(i) - video.played.start(i);
    return total;
  }

  get watched() { return this.videos.every((video) => this.ended.has(video)); }

  stop() {
    this.playing = [];
    for (const video of this.videos) video.pause();
  }

  // which: indices of the videos to play; only the first is heard, since both say the same.
  async play(which) {
    this.stop();
    const chosen = which.map((i) => this.videos[i]);
    chosen.forEach((video, i) => {
      video.muted = i > 0;
      if (video.readyState > 0) video.currentTime = 0;
    });
    this.playing = [...chosen];
    this.count += 1;
    this.onChange();
    try {
      await Promise.all(chosen.map((video) => video.play()));
    } catch (error) {
      if (error.name !== "AbortError") { this.stop(); this.onChange(error); }
      return;
    }
    if (chosen.length === 2) this.together(chosen);
  }

  together([first, second]) {
    const step = () => {
      if (this.playing.length < 2) return;
      if (!second.seeking && Math.abs(first.currentTime - second.currentTime) > APART && first.currentTime < second.duration - APART) {
        second.currentTime = first.currentTime;
      }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}
