// Draws every chart of the page into its element. Bundled behind Vega, which makes `vegaEmbed` known.
const specs = JSON.parse(document.getElementById("charts").textContent);
for (const [id, spec] of Object.entries(specs)) {
  // ast: expressions are interpreted, so that the page need not allow eval.
  vegaEmbed("#" + id, spec, {
    actions: false, ast: true, defaultStyle: false, renderer: "svg", tooltip: { disableDefaultStyle: true },
  });
}

// Paper is narrower than most screens. Charts follow the window's size: tell them that it changed.
const paper = (printed) => () => {
  document.body.classList.toggle("paper", printed);
  dispatchEvent(new Event("resize"));
};
addEventListener("beforeprint", paper(true));
addEventListener("afterprint", paper(false));
