#include "trainer/data/text_kind.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "trainer/data/utf8.h"

namespace thinwire::trainer {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kMarkBytes = 4;

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  std::string_view format;
};

constexpr std::array kSignatures = {
    Signature{0, "\x1f\x8b"sv, "a gzip archive"},
    Signature{0, "PK\3\4"sv, "a zip archive (or an office document)"},
    Signature{0, "\x28\xb5\x2f\xfd"sv, "a zstd archive"},
    Signature{0, "\xfd\x37zXZ\0"sv, "an xz archive"},
    Signature{4, "1AY&SY"sv, "a bzip2 archive"},
    Signature{0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive"},
    Signature{0, "\x04\x22\x4d\x18"sv, "an lz4 archive"},
    Signature{0, "Rar!\x1a\x07"sv, "a rar archive"},
    Signature{257, "ustar"sv, "a tar archive"},
    Signature{0, "\x89PNG\r\n\x1a\n"sv, "a PNG picture"},
    Signature{0, "\xff\xd8\xff"sv, "a JPEG picture"},
    Signature{0, "GIF87a"sv, "a GIF picture"},
    Signature{0, "GIF89a"sv, "a GIF picture"},
    Signature{8, "WEBPVP8"sv, "a WebP picture"},
    Signature{0, "II*\0"sv, "a TIFF picture"},
    Signature{0, "MM\0*"sv, "a TIFF picture"},
    Signature{8, "WAVEfmt"sv, "a WAV sound"},
    Signature{0, "OggS\0"sv, "an Ogg file"},
    Signature{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, "an old office document"},
    Signature{0, "PAR1"sv, "a Parquet file"},
    Signature{0, "ARROW1\0\0"sv, "an Arrow file"},
    Signature{0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file"},
    Signature{0, "\x93NUMPY"sv, "a NumPy array"},
    Signature{0, "SQLite format 3\0"sv, "an SQLite database"},
    Signature{0, "GGUF"sv, "a GGUF model"},
    Signature{0,
              "\x7f"
              "ELF"sv,
              "a program"},
};

// safetensors: 8 bytes of the header's length, then a JSON object.
bool is_safetensors(std::string_view start) {
  return start.size() > 10 && start.substr(8, 2) == "{\"" && start.substr(4, 4) == "\0\0\0\0"sv;
}

// The encoding that a byte order mark stands for, by the name that iconv knows.
std::string_view marked_encoding(std::string_view start) {
  if (start.starts_with("\xff\xfe\0\0"sv) || start.starts_with("\0\0\xfe\xff"sv)) return "UTF-32";
  if (start.starts_with("\xff\xfe"sv) || start.starts_with("\xfe\xff"sv)) return "UTF-16";
  return {};
}

// How many bytes from the start are ASCII without NUL, eight at a time.
std::size_t plain_ascii(std::string_view text) {
  std::size_t end = 0;
  for (; end + 8 <= text.size(); end += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + end, sizeof word);
    constexpr std::uint64_t kHigh = 0x8080808080808080, kOnes = 0x0101010101010101;
    if ((word & kHigh) != 0 || ((word - kOnes) & ~word & kHigh) != 0) break;
  }
  return end;
}

// Up to a character that the end cuts.
bool is_plain_text(std::string_view start) {
  while (!start.empty()) {
    const std::size_t length = character_bytes(start);
    if (length == 0) return start.size() < kMaxCharacterBytes;
    if (start[0] == '\0') return false;
    start.remove_prefix(length);
  }
  return true;
}

}  // namespace

std::string_view binary_format(std::string_view start) {
  if (start.starts_with("%PDF-")) return "a PDF document";
  if (is_plain_text(start)) return {};  // which may begin with the word GGUF
  for (const Signature& signature : kSignatures) {
    if (start.size() >= signature.offset && start.substr(signature.offset).starts_with(signature.bytes))
      return signature.format;
  }
  return is_safetensors(start) ? "a safetensors model" : std::string_view();
}

void TextKind::add(std::string_view piece) {
  if (start_.size() < kMarkBytes) start_ += piece.substr(0, kMarkBytes - start_.size());
  if (const std::size_t nul = piece.find('\0'); !nul_ && nul != std::string_view::npos) nul_ = seen_ + nul;
  for (std::size_t at = 0; at < piece.size() && !not_utf8_; ++at) {
    if (missing_ == 0) at += plain_ascii(piece.substr(at));
    if (at < piece.size()) add_byte(static_cast<unsigned char>(piece[at]), seen_ + at);
  }
  seen_ += piece.size();
}

// RFC 3629: which bytes may follow the first of a character.
void TextKind::add_byte(unsigned char byte, std::uint64_t offset) {
  if (missing_ > 0) {
    if (byte < low_ || byte > high_) not_utf8_ = character_;
    --missing_;
    low_ = 0x80;
    high_ = 0xbf;
    return;
  }
  if (byte < 0x80) return;
  if (byte < 0xc2 || byte > 0xf4) {
    not_utf8_ = offset;
    return;
  }
  character_ = offset;
  missing_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
  low_ = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
  high_ = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
}

std::string TextKind::problem() const {
  if (const std::string_view encoding = marked_encoding(start_); !encoding.empty()) {
    const std::string name(encoding);
    return "is " + name + " by the mark at byte 0, not UTF-8: convert it by iconv -f " + name + " -t UTF-8";
  }
  if (nul_) {
    return "has a NUL at byte " + std::to_string(*nul_) +
           ", which text has not: if it is UTF-16 without a mark, convert it by iconv -f UTF-16LE -t UTF-8";
  }
  if (not_utf8_ || missing_ > 0) {
    return "is not UTF-8 from byte " + std::to_string(not_utf8_.value_or(character_)) +
           " on: convert it from its encoding (iconv -f LATIN1 -t UTF-8), or leave out what is broken "
           "(iconv -c -f UTF-8 -t UTF-8)";
  }
  return {};
}

bool TextKind::may_be_text() const {
  return !nul_ && marked_encoding(start_).empty();
}

}  // namespace thinwire::trainer
