// Buttons of the pages that lead to the canvas (to the masks of a finding, or to an image), and
// to the comparison of what several people drew.
(() => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));

  const compare = (imageId) => {
    const field = document.querySelector("#mal-wanted input");
    const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
    set.call(field, imageId);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    document.querySelector("#mal-compared")?.scrollIntoView({ block: "start" });
  };

  document.addEventListener("click", async (event) => {
    const image = event.target.closest("[data-mal-compare]");
    if (image) compare(image.dataset.malCompare);
    const link = event.target.closest("[data-mal-project]");
    const canvas = window.malCanvas;
    if (!link || !canvas) return;
    const { malProject, malImage, malLook } = link.dataset;
    const tab = [...document.querySelectorAll("button[role=tab]")].find(
      (one) => one.textContent.trim() === "Annotate",
    );
    tab?.click();
    await frame(); // the canvas has its size again
    await frame();
    await canvas.setProject(Number(malProject));
    if (malLook) await canvas.look(JSON.parse(malLook));
    else await canvas.open(Number(malImage));
  });
})();
