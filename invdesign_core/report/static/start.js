"use strict";
/* Reads what the page holds, and fills its sections. */
(function (own) {
  const content = JSON.parse(document.getElementById("content").textContent);
  const space = new own.Space(content.variables, content.constraints);
  const model = content.model ? new own.Model(content.model, content.outputs.length, content.scenarios) : null;

  /** Fill a section; what goes wrong there is said there, and takes nothing else with it. */
  function section(id, fill) {
    const root = document.getElementById(id);
    if (!root) return null;
    try {
      return fill(root);
    } catch (error) {
      root.append(own.html("p", { class: "fault" }, `This part could not be drawn: ${error.message}`));
      console.error(error);
      return null;
    }
  }

  const profiler = section("profiler-here", (root) => new own.Profiler(content, space, model, root));
  if (profiler) {
    section("map-here", (root) => {
      if (model) return new own.Contours(content, space, model, profiler, root);
      root.append(own.html("p", {}, "Maps need a model that the page can compute."));
      return null;
    });
    section("parallel-here", (root) => new own.Parallel(content, space, profiler, root));
    section("around-here", (root) => own.around(content, space, profiler, root));
    document.querySelectorAll("[data-design]").forEach((button) => {
      button.hidden = false;
      button.addEventListener("click", () => {
        profiler.pick(Number(button.dataset.design));
        document.getElementById("profiler").scrollIntoView({ behavior: "smooth" });
      });
    });
  }
  section("fit-here", (root) => own.fit(content, root));
  section("influence-here", (root) => own.influence(content, space, root));
  section("race-here", (root) => own.race(content, root));
  section("losses-here", (root) => own.losses(content, root));
  section("trials-here", (root) => own.trials(content, root));
  section("starts-here", (root) => own.starts(content, root));
  Object.assign(own, { content, space, model, profiler });
  document.documentElement.dataset.ready = "yes";
})(Invdesign);
