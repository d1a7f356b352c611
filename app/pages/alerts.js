// Acts outside Gradio's queue answer an error that Gradio's page does not spell out: it only marks
// parts of the page with the word "Error". Here the words reach the person, until they close them.
(() => {
  const ask = window.fetch;
  window.fetch = async (...request) => {
    const answer = await ask(...request);
    const address = request[0] instanceof Request ? request[0].url : String(request[0]);
    if (!answer.ok && address.includes("/gradio_api/run/")) {
      answer.clone().json().then(tell, () => tell({}));
    }
    return answer;
  };

  const plain = (html) => new DOMParser().parseFromString(html, "text/html").body.textContent;

  function tell({ title = "That did not work", error = "The studio gave no reason." }) {
    document.querySelector(".mal-alert")?.remove();
    const alert = document.createElement("div");
    alert.className = "mal-alert";
    alert.setAttribute("role", "alert");
    const close = document.createElement("button");
    close.textContent = "Close";
    close.addEventListener("click", () => alert.remove());
    const heading = document.createElement("strong");
    heading.textContent = plain(title);
    const text = document.createElement("p");
    text.textContent = plain(String(error));
    alert.append(heading, text, close);
    document.body.append(alert);
  }
})();
