// What the bytes of a file are: UTF-8, text of another encoding, or no text at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace thinwire::trainer {

// "a gzip archive", "a PNG picture", ... by the bytes that a file starts with; empty for what may be text.
std::string_view binary_format(std::string_view start);

// Looks at a file's bytes as they come, in pieces of any size.
class TextKind {
 public:
  void add(std::string_view piece);
  // "is UTF-16, not UTF-8; convert it ..."; empty for UTF-8. After the last piece.
  std::string problem() const;
  // False for what no encoding of single bytes writes: a NUL, or the mark of UTF-16 or UTF-32.
  bool may_be_text() const;

 private:
  void add_byte(unsigned char byte, std::uint64_t offset);

  std::string start_;  // of the file, for its byte order mark
  std::uint64_t seen_ = 0;
  std::uint64_t character_ = 0;            // where the last character of several bytes starts,
  int missing_ = 0;                        // how many of its bytes are still to come,
  unsigned char low_ = 0, high_ = 0;       // and what the next one may be
  std::optional<std::uint64_t> not_utf8_;  // offset of the first byte that is no UTF-8
  std::optional<std::uint64_t> nul_;       // of the first NUL
};

}  // namespace thinwire::trainer
