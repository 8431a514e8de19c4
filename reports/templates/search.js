// Reloads the page of a campaign that runs, where that is wished: nothing moves by itself before.
"use strict";
{
  const button = document.getElementById("follow"), KEY = "lockstep-follow";
  if (button) {
    let timer = 0;
    const set = (on) => {
      button.setAttribute("aria-pressed", String(on));
      clearTimeout(timer);
      if (on) timer = setTimeout(() => location.reload(), 15000);
      try {
        sessionStorage.setItem(KEY, on ? "1" : "");
      } catch { /* a page from disk may have nowhere to keep it */ }
    };
    let kept = null;
    try {
      kept = sessionStorage.getItem(KEY);
    } catch { /* likewise */ }
    button.classList.remove("hidden");
    button.addEventListener("click", () => set(button.getAttribute("aria-pressed") !== "true"));
    set(kept === "1");
  }
}
