// What is cut without a sign: text beyond an edge where there is neither an ellipsis nor an arrow.
() => [...document.querySelectorAll("#app *")].filter((element) => {
  const style = getComputedStyle(element);
  if (style.overflowX === "visible" && style.overflowY === "visible") return false;
  if (element.closest(".said") || style.clipPath !== "none" || element.matches("input, select, option, textarea, svg")) return false;
  const right = element.scrollWidth > element.clientWidth + 1, below = element.scrollHeight > element.clientHeight + 2;
  const box = element.parentElement.classList;
  const told = style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none";
  return element.clientWidth > 0 && !told && ((right && !box.contains("more-right")) || (below && !box.contains("more-below")));
}).map((element) => `${element.tagName} ${element.className}: ${element.textContent.slice(0, 60)}`)
