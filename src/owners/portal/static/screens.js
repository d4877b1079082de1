// Pictures of the screens of nodes that are on and in sight: read one after another, each by a program of the site,
// and renewed each minute.

const RENEWED = 60_000;
const inSight = new Set(); // rows
const waiting = new Set(); // image elements
let isBusy = false;

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) inSight.delete(target);
    else {
      inSight.add(target);
      renew(target.querySelector('img'), target);
    }
  }
});

function readNext() {
  const [image] = waiting;
  if (isBusy || !image) return;
  waiting.delete(image);
  if (!image.dataset.address) return readNext();
  isBusy = true;
  const end = (isThere) => {
    image.hidden = !isThere || !image.dataset.address;
    isBusy = false;
    readNext();
  };
  image.onload = () => end(true);
  image.onerror = () => end(false);
  image.src = `${image.dataset.address}?${Date.now()}`;
}

function renew(image, place) {
  const isOld = Date.now() - Number(image.dataset.at ?? 0) > RENEWED;
  if (!image.dataset.address || !isOld || document.hidden || !inSight.has(place)) return;
  image.dataset.at = Date.now();
  waiting.add(image);
  readNext();
}

// Has the picture at the address in the image of the place; the last one stays until the next is there. Empty: none, as of a node that is off.
export function showScreen(place, image, address) {
  image.dataset.address = address;
  if (!address) {
    image.hidden = true;
    delete image.dataset.at;
  }
  observer.observe(place);
  renew(image, place);
}
