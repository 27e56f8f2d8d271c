// Text of any size, read in pieces: no more of it is in memory than a buffer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/format/file_io.h"

namespace thinwire::trainer {

class Text {
 public:
  virtual ~Text() = default;
  virtual std::uint64_t size() const = 0;
  // Exactly n bytes, which must be there. Throws as InputFile.
  virtual void read(std::uint64_t offset, char* into, std::size_t n) const = 0;
};

// A file of a source, and where it stands in the source's text.
struct TextFile {
  std::string path;
  std::uint64_t begin = 0;
  std::uint64_t bytes = 0;
  bool gets_newline = false;  // one byte more in the text
};

// One entry of data.path: a file, or a folder's files in the order of their paths, each ended by a newline.
// Files and folders whose names start with a dot are left out. One thread at a time.
class SourceText final : public Text {
 public:
  // Throws std::runtime_error that names the path that is missing, unreadable, no plain file, or has no text.
  explicit SourceText(const std::string& path);
  std::uint64_t size() const override { return size_; }
  // Also throws std::runtime_error where a file has another size than when the source was opened.
  void read(std::uint64_t offset, char* into, std::size_t n) const override;
  const std::vector<TextFile>& files() const { return files_; }

 private:
  void add_file(const std::string& path, bool ends_line);
  const InputFile& open(std::size_t file) const;

  std::vector<TextFile> files_;
  std::uint64_t size_ = 0;
  mutable std::unique_ptr<InputFile> open_;  // of files_[open_file_]; a folder may have more than may be open
  mutable std::size_t open_file_ = 0;
};

// Walks over [begin, end) of a text.
class TextCursor {
 public:
  TextCursor(const Text& text, std::uint64_t begin, std::uint64_t end) : text_(text), at_(begin), end_(end) {}
  std::uint64_t left() const { return end_ - at_; }
  // The next n bytes, or what is left if that is less; valid until the next peek().
  std::string_view peek(std::size_t n);
  // n bytes that peek() has shown.
  void skip(std::size_t n);

 private:
  const Text& text_;
  std::uint64_t at_, end_;
  std::string buffer_;  // the text from at_ - used_ on
  std::size_t used_ = 0;
};

// Takes what the preparation of text has to say, and may end it. Each member may be empty.
struct TextWatch {
  std::function<void(const std::string&)> on_notice;   // before a long wait
  std::function<void(const std::string&)> on_warning;  // text that is perhaps not what was meant
  std::stop_token stop;

  void notice(const std::string& message) const;
  void warn(const std::string& message) const;
  // Throws std::runtime_error if stop was requested.
  void check_stop() const;
};

// Texts from here on are worth a notice before they are read.
inline constexpr std::uint64_t kLongTextBytes = 8 << 20;
// "12 kB", "1.50 GB".
std::string text_size(std::uint64_t bytes);

}  // namespace thinwire::trainer
