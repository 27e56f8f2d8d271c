#include "launch/launcher/hosts_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <vector>

#include "launch/errors.h"
#include "trainer/format/file_io.h"

namespace thinwire::launch {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 20;
constexpr std::string_view kExpected =
    "expected a host and how many workers it takes, such as \"paris slots=2\"";

bool is_number(std::string_view text) {
  int number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && number > 0;
}

bool is_host(const std::string& word) {
  return std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("-._:@%+^").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

// What mpirun knows beside a host. Empty: fine.
std::string problem_of(const std::string& word) {
  const auto equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  for (const char* count : {"slots", "max_slots", "max-slots", "cpu", "count", "port"}) {
    if (name == count)
      return is_number(value) ? "" : fmt::format("expected {}=NUMBER, found \"{}\"", name, word);
  }
  if (name == "username" || name == "user") return value.empty() ? "expected user=NAME" : "";
  return fmt::format("{}, found \"{}\"", kExpected, word);
}

std::string problem_of(const std::vector<std::string>& words) {
  if (!is_host(words.front())) return fmt::format("{}, found \"{}\"", kExpected, words.front());
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (const std::string problem = problem_of(words[i]); !problem.empty()) return problem;
  }
  return "";
}

// "slots = 2" is "slots=2" to mpirun.
std::vector<std::string> words_of_line(std::string line) {
  line.resize(std::min(line.find('#'), line.size()));
  std::string joined;
  for (const char c : line) {
    if (c == '=') joined.resize(joined.find_last_not_of(" \t") + 1);
    const bool after_equals = !joined.empty() && joined.back() == '=';
    if (!(after_equals && (c == ' ' || c == '\t'))) joined += c == '\r' ? ' ' : c;
  }
  std::istringstream stream(joined);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string text_of(const std::string& path) {
  try {
    return trainer::read_whole_file(path, kMaxBytes);
  } catch (const std::exception& error) {
    throw UsageError(
        fmt::format("the hosts file cannot be read: {}; name another one with --hosts", error.what()));
  }
}

}  // namespace

std::string checked_hosts_file(const std::string& path) {
  std::istringstream lines(text_of(path));
  int number = 0, hosts = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const std::vector<std::string> words = words_of_line(line);
    if (words.empty()) continue;
    ++hosts;
    if (const std::string problem = problem_of(words); !problem.empty())
      throw UsageError(fmt::format("{}:{}: {}", path, number, problem));
  }
  if (hosts == 0) throw UsageError(fmt::format("{}: {}, found no line with a host", path, kExpected));
  return std::filesystem::absolute(path).lexically_normal();
}

}  // namespace thinwire::launch
