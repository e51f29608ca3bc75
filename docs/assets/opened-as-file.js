// Search in pages that were opened as files. Browsers give such pages no workers, so a hidden frame does the work; what
// is posted to it, and what it answers, go the same ways. Pages from a server never get here.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc = "<!doctype html><title>search</title>";
      this.frame.addEventListener("load", () => {
        const inside = this.frame.contentWindow;
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        const script = inside.document.createElement("script");
        script.src = new URL(url, document.baseURI).href;
        script.addEventListener("load", () => {
          this.ready = true;
          this.waiting.splice(0).forEach((data) => this.postMessage(data));
        });
        inside.document.head.append(script);
      }, { once: true });
      (document.body ?? document.documentElement).append(this.frame);
    }

    postMessage(data) {
      if (this.ready) this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
