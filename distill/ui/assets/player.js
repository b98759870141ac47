// The page's one player, and who else plays: whatever is played anywhere, what played before stops.

const player = new Audio();
let ended = () => {};

/** Stop whatever plays, since something else is played now; `done` is called once the same befalls that. */
export function alone(done) {
  stop();
  for (const other of document.querySelectorAll("audio")) other.pause();
  ended = done;
}

/** Play an address from a time (s) on; `done` is called once, when it ends, fails, or something else is played. */
export function play(source, { volume = 1, from = 0, done = () => {}, failed = () => {} } = {}) {
  alone(done);
  player.src = source;
  player.volume = Math.min(1, Math.max(0, volume));
  player.currentTime = from;
  // A browser that was not clicked in yet plays nothing; then nothing is wrong with the sound.
  player.play().catch((error) => {
    if (error.name === "AbortError") return;
    stop();
    if (error.name !== "NotAllowedError") failed();
  });
}

/** Stop what is played. */
export function stop() {
  player.pause();
  const tell = ended;
  ended = () => {};
  tell();
}

/** Where the player is: from 0 to 1, and in s. */
export const position = () => ({ share: player.duration ? player.currentTime / player.duration : 0, seconds: player.currentTime });

player.addEventListener("ended", stop);
// Players with controls of their own are heard one at a time as well.
document.addEventListener("play", (event) => {
  stop();
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
