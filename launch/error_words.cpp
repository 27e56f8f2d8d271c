#include "launch/error_words.h"

#include <fmt/format.h>

#include <filesystem>
#include <new>
#include <regex>
#include <stdexcept>

#include "comm/errors.h"
#include "launch/config/config.h"
#include "launch/errors.h"

namespace thinwire::launch {
namespace {

std::string without_end(std::string text) {
  text.erase(text.find_last_not_of(" \n\r\t") + 1);
  return text;
}

// LibTorch: "message\nException raised from f at file.cpp:12 (most recent call first):\nframe #0: ..."
std::string without_frames(const std::string& text) {
  std::string words = text;
  for (const char* mark : {"Exception raised from ", "frame #0: ", "C++ CapturedTraceback:"}) {
    const auto at = words.find(mark);
    if (at != std::string::npos) words.resize(at);
  }
  return without_end(words);
}

std::string memory_words(const std::string& text) {
  static const std::regex asked(R"(tried to allocate (\d+) bytes)");
  std::smatch match;
  if (!std::regex_search(text, match, asked)) return "";
  return fmt::format(
      "out of memory: {} bytes more were asked for; a smaller model, batch or sequence needs less",
      match[1].str());
}

// nlohmann: "[json.exception.type_error.302] type must be number, but is null"
std::string json_words(const std::string& text) {
  static const std::regex code(R"(\[json\.exception\.\w+\.\d+\] ?)");
  if (!std::regex_search(text, code)) return text;
  return "a file or message does not have the form that was expected: " + std::regex_replace(text, code, "");
}

// libstdc++: "filesystem error: cannot create directories: File exists [run]"
std::string file_words(const std::filesystem::filesystem_error& error) {
  static const std::regex form(R"(^filesystem error: (.*): [^:\[]* \[.*$)");
  const std::string text = error.what();
  std::smatch match;
  if (!std::regex_match(text, match, form)) return text;
  const std::string other = error.path2().empty() ? "" : " and " + error.path2().string();
  return fmt::format("{} {}{}: {}", match[1].str(), error.path1().string(), other, error.code().message());
}

}  // namespace

std::string words_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return "out of memory; a smaller model, batch or sequence needs less";
  }
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return file_words(*file);
  const std::string text = error.what();
  if (const std::string words = memory_words(text); !words.empty()) return words;
  return json_words(without_frames(text));
}

int exit_code_of(const std::exception& error) {
  if (const auto* failed = dynamic_cast<const JobFailed*>(&error)) return failed->exit_code();
  const bool bad_setting = dynamic_cast<const std::invalid_argument*>(&error) != nullptr ||
                           dynamic_cast<const ConfigError*>(&error) != nullptr ||
                           dynamic_cast<const UsageError*>(&error) != nullptr;
  return bad_setting ? kUsage : kRunFailed;
}

bool is_consequence(const std::exception& error) {
  return dynamic_cast<const comm::CommError*>(&error) != nullptr;
}

}  // namespace thinwire::launch
