// harfbuzz_check FONT: shapes some text and looks at the glyphs.
#include <cstdio>
#include <cstdlib>

#include "hb-ot.h"
#include "hb.h"

namespace {

void Check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "harfbuzz: %s\n", what);
  std::exit(EXIT_FAILURE);
}

unsigned Shape(hb_font_t* font, const char* text, int* width) {
  hb_buffer_t* buffer = hb_buffer_create();
  hb_buffer_add_utf8(buffer, text, -1, 0, -1);
  hb_buffer_guess_segment_properties(buffer);
  hb_shape(font, buffer, nullptr, 0);
  unsigned count = 0;
  hb_glyph_info_t* info = hb_buffer_get_glyph_infos(buffer, &count);
  hb_glyph_position_t* at = hb_buffer_get_glyph_positions(buffer, nullptr);
  *width = 0;
  for (unsigned i = 0; i < count; i++) {
    Check(info[i].codepoint != 0, "a character without glyph");
    *width += at[i].x_advance;
  }
  hb_buffer_destroy(buffer);
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  Check(argc == 2, "usage: harfbuzz_check FONT");
  hb_blob_t* blob = hb_blob_create_from_file_or_fail(argv[1]);
  Check(blob != nullptr, "cannot read the font");
  hb_face_t* face = hb_face_create(blob, 0);
  Check(hb_face_get_glyph_count(face) > 1000, "too few glyphs");
  hb_font_t* font = hb_font_create(face);
  int width = 0, kerned = 0, apart = 0;
  Check(Shape(font, "Hello, world", &width) == 12 && width > 0, "Latin");
  Check(Shape(font, "e\xcc\x81", &width) == 1, "an accent did not compose");
  Shape(font, "AVAVAV", &kerned);
  int a = 0, v = 0;
  Shape(font, "A", &a);
  Shape(font, "V", &v);
  apart = 3 * (a + v);
  Check(kerned < apart, "no kerning");

  hb_set_t* set = hb_set_create();
  hb_face_collect_unicodes(face, set);
  Check(hb_set_has(set, 'A') && !hb_set_has(set, 0x10FFFF), "the character set");
  hb_set_destroy(set);
  hb_font_destroy(font);
  hb_face_destroy(face);
  hb_blob_destroy(blob);
  std::printf("harfbuzz: ok, %s\n", hb_version_string());
  return 0;
}
