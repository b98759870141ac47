// Run before Gradio's own scripts. Its sign of loading goes on counting seconds after it was taken away, on every frame
// for as long as the page is open, and drawing frames takes a good part of a core from whatever trains beside it. For
// such counters ten times a second is enough.
{
  const onFrame = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (call) =>
    String(call).includes("performance.now()") ? setTimeout(() => call(performance.now()), 100) : onFrame(call);
}
