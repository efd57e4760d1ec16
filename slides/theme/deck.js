// Starts a deck. Keys: arrows move, S opens the speaker's view, ? lists the rest. For paper: add ?print-pdf to the address, then print.
const width = 1280, height = 720, smallest = 0.7;

// A slide that says too much gets smaller type, down to a size that is still readable at the back of a room.
function fit(slide) {
  slide.style.display = 'block';
  for (let size = 1; size >= smallest && (slide.scrollHeight > height || slide.scrollWidth > width); size -= 0.02) {
    slide.style.fontSize = `${size}em`;
  }
  slide.style.display = '';
}

addEventListener('load', () => {
  const slides = document.querySelector('.slides');
  slides.style.width = `${width}px`;
  for (const stack of slides.children) {
    stack.style.display = 'block';
    [...stack.children].forEach(fit);
    stack.style.display = '';
  }
  slides.style.width = '';
  Reveal.initialize({
    width, height,
    margin: 0,
    center: false,
    hash: true,
    controlsTutorial: false,
    slideNumber: 'c/t',
    transition: 'none',
    pdfSeparateFragments: false,
    pdfMaxPagesPerSlide: 1,
    plugins: [RevealNotes],
  });
});
