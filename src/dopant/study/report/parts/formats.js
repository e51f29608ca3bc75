// How numbers are written: the same as dopant.study.report.words, which names the manner of each column.
const THIN = "\u202f", MINUS = "\u2212";

// As Python rounds: what lies exactly between two goes to the even one.
function fixed(value, digits) {
  const scaled = Math.abs(value) * 10 ** digits;
  if (scaled < 2 ** 50 && scaled % 1 === 0.5 && /^0*$/.test(value.toFixed(40).split(".")[1].slice(digits + 1))) {
    const down = Math.floor(scaled);
    return ((Math.sign(value) * (down + (down % 2))) / 10 ** digits).toFixed(digits);
  }
  return value.toFixed(digits);
}

function grouped(text) {
  const [whole, part] = text.split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, THIN) + (part ? "." + part : "");
}

function number(value, digits = 3) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  const size = Math.abs(value);
  let text;
  if (Number.isInteger(value) && size < 1e15) text = grouped(fixed(value, 0));
  else if (size >= 1e-4 && size < 1e6) {
    text = grouped(fixed(value, Math.max(0, digits - 1 - Math.floor(Math.log10(size)))));
  } else text = value.toExponential(digits - 1).replace(/e([+-])(\d)$/, "e$10$2");
  return text.replaceAll("-", MINUS);
}

function scaled(value, steps) {
  const step = steps.find(([size]) => Math.abs(value) >= size);
  return step ? (number(value / step[0]) + THIN + step[1]).trimEnd() : null;
}

function written(value, manner) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return number(value);
  const [kind, first, second] = manner;
  const signed = (text) => (second && value > 0 ? "+" + text : text);
  if (kind === "difference") {
    if (!first) return signed(number(value));
    return signed(fixed(100 * value, 2)).replace("-0.00", "0.00").replace("+0.00", "0.00").replaceAll("-", MINUS);
  }
  if (kind === "share") return (fixed(100 * value, 2) + THIN + "%").replaceAll("-", MINUS);
  if (kind === "p") return value >= 0 && value < 0.001 ? "< 0.001" : fixed(value, 3);
  if (kind === "correlation") return fixed(value, 2).replaceAll("-", MINUS);
  if (kind === "large") return scaled(value, [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) ?? number(value);
  if (kind === "seconds") {
    if (value === 0) return number(value);
    return scaled(value, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]) ?? number(value / 1e-9) + THIN + "ns";
  }
  return number(value, first || 3);
}
