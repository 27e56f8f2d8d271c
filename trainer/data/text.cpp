#include "trainer/data/text.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBufferBytes = 256 << 10;

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    if (hidden(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      files.push_back(it->path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::unique_ptr<InputFile> open_text_file(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored) && fs::exists(path, ignored)) {
    throw std::runtime_error("[data] '" + path +
                             "' is not a plain file: text is read more than once, which a pipe or a device "
                             "cannot give; write it into a file");
  }
  try {
    return std::make_unique<InputFile>(path);
  } catch (const std::system_error& error) {
    throw std::runtime_error("[data] cannot read '" + path + "': " + error.code().message());
  }
}

}  // namespace

SourceText::SourceText(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status) && (!error || error == std::errc::no_such_file_or_directory)) {
    throw std::runtime_error("[data] expected a file or folder at '" + path +
                             "', found nothing; check data.path");
  }
  if (!fs::is_directory(status)) {
    add_file(path, /*ends_line=*/false);
  } else {
    try {
      for (const fs::path& file : files_of(path)) add_file(file, /*ends_line=*/true);
    } catch (const fs::filesystem_error& unreadable) {
      throw std::runtime_error("[data] cannot read the folder '" + path +
                               "': " + unreadable.code().message());
    }
  }
  if (size_ == 0) throw std::runtime_error("[data] '" + path + "' has no text; check data.path");
}

void SourceText::add_file(const std::string& path, bool ends_line) {
  open_ = open_text_file(path);
  open_file_ = files_.size();
  TextFile file{path, size_, open_->size(), false};
  if (ends_line && file.bytes > 0) {
    char last = 0;
    open_->read_at(file.bytes - 1, &last, 1);
    file.gets_newline = last != '\n';
  }
  size_ += file.bytes + (file.gets_newline ? 1 : 0);
  files_.push_back(std::move(file));
}

const InputFile& SourceText::open(std::size_t file) const {
  if (open_ != nullptr && open_file_ == file) return *open_;
  open_ = open_text_file(files_[file].path);
  open_file_ = file;
  if (open_->size() != files_[file].bytes) {
    throw std::runtime_error("[data] '" + files_[file].path + "' has changed while it was read: expected " +
                             std::to_string(files_[file].bytes) + " bytes, found " +
                             std::to_string(open_->size()) + "; start again when it is complete");
  }
  return *open_;
}

void SourceText::read(std::uint64_t offset, char* into, std::size_t n) const {
  auto next = std::upper_bound(files_.begin(), files_.end(), offset,
                               [](std::uint64_t at, const TextFile& file) { return at < file.begin; });
  for (auto file = static_cast<std::size_t>(next - files_.begin()) - 1; n > 0; ++file) {
    const TextFile& part = files_.at(file);
    const std::uint64_t skipped = offset - part.begin;
    const auto from_file =
        static_cast<std::size_t>(std::min<std::uint64_t>(n, skipped < part.bytes ? part.bytes - skipped : 0));
    if (from_file > 0) open(file).read_at(skipped, into, from_file);
    into += from_file;
    offset += from_file;
    n -= from_file;
    if (n > 0 && part.gets_newline && offset == part.begin + part.bytes) {
      *into++ = '\n';
      ++offset;
      --n;
    }
  }
}

std::string_view TextCursor::peek(std::size_t n) {
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(n, left()));
  if (buffer_.size() - used_ < wanted) {
    buffer_.erase(0, used_);
    used_ = 0;
    const std::size_t have = buffer_.size();
    buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(std::max(kBufferBytes, wanted), left())));
    text_.read(at_ + have, buffer_.data() + have, buffer_.size() - have);
  }
  return std::string_view(buffer_).substr(used_, wanted);
}

void TextCursor::skip(std::size_t n) {
  used_ += n;
  at_ += n;
}

void TextWatch::notice(const std::string& message) const {
  if (on_notice) on_notice(message);
}

void TextWatch::warn(const std::string& message) const {
  if (on_warning) on_warning(message);
}

void TextWatch::check_stop() const {
  if (stop.stop_requested()) throw std::runtime_error("[data] reading the text was interrupted");
}

std::string text_size(std::uint64_t bytes) {
  char text[32];
  const auto size = static_cast<double>(bytes);
  if (bytes < 1'000'000) {
    std::snprintf(text, sizeof text, "%.0f kB", size / 1e3);
  } else if (bytes < 1'000'000'000) {
    std::snprintf(text, sizeof text, "%.0f MB", size / 1e6);
  } else {
    std::snprintf(text, sizeof text, "%.2f GB", size / 1e9);
  }
  return text;
}

}  // namespace thinwire::trainer
