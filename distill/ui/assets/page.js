// Play buttons: one sound at a time, wherever the button stands. `data-src` of the button is the sound's address.

const player = new Audio();
let playing = null;

function stop() {
  player.pause();
  playing?.classList.remove("d-on");
  playing = null;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.(".d-play");
  if (!button) return;
  const again = button === playing;
  stop();
  if (again) return;
  playing = button;
  button.classList.add("d-on");
  player.src = button.dataset.src;
  player.play().catch(() => { button.classList.add("d-broken"); stop(); });
});

player.addEventListener("ended", stop);
