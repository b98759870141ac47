// The opening page: sounds to hear until the page itself is there, which then takes its place.

import "../page.js";
import "../sounds.js";
import "../start.js";

const seconds = (count) => new Promise((resolve) => setTimeout(resolve, 1000 * count));

while (!(await fetch("/api/ready", { cache: "no-store" }).catch(() => null))?.ok) await seconds(1);
// What is heard now is heard to its end.
while (document.querySelector(".d-play.d-on, .d-heard")) await seconds(0.2);
location.reload();
