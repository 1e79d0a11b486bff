"use strict";
// One slider for the opacity of the heat of all pictures.
(() => {
  const slider = document.getElementById("opacity");
  const shown = document.getElementById("opacity-shown");
  const pictures = document.getElementById("pictures");
  const move = () => {
    pictures.style.setProperty("--heat", String(slider.value / 100));
    shown.textContent = `${slider.value}%`;
  };
  slider.addEventListener("input", move);
  document.getElementById("opacity-control").hidden = false;
  move();
})();
