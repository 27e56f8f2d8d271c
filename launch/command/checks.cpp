#include "launch/command/checks.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <functional>

#include "launch/config/check.h"

namespace thinwire::launch {
namespace {

namespace fs = std::filesystem;

// problem: what is wrong, or "".
CLI::Validator validator(std::function<std::string(const std::string&)> problem, const std::string& words) {
  return CLI::Validator([problem = std::move(problem)](std::string& text) { return problem(text); }, words);
}

template <class Number>
std::errc parse(const std::string& text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc()) return parsed.ec;
  return parsed.ptr == end ? std::errc() : std::errc::invalid_argument;
}

std::string range_words(std::int64_t least, std::int64_t most) {
  if (most >= std::numeric_limits<int>::max()) return fmt::format("{} or more", least);
  return fmt::format("{} to {}", least, most);
}

CLI::Validator number(const std::string& words, std::function<bool(double)> accepts) {
  return validator(
      [words, accepts = std::move(accepts)](const std::string& text) -> std::string {
        double value = 0;
        const bool is_number = parse(text, value) == std::errc() && std::isfinite(value);
        if (is_number && accepts(value)) return {};
        return fmt::format("expected {}{}, found {}", is_number ? "" : "a number of ", words, text);
      },
      words);
}

CLI::Validator entry(bool wants_folder) {
  const std::string wanted = wants_folder ? "folder" : "file";
  return validator(
      [=](const std::string& path) -> std::string {
        std::error_code none;
        const fs::file_status status = fs::status(path, none);
        if (!fs::exists(status)) return fmt::format("expected a {}, found nothing at {}", wanted, path);
        if (fs::is_directory(status) == wants_folder) return {};
        return fmt::format("expected a {}, found a {}: {}", wanted, wants_folder ? "file" : "folder", path);
      },
      wants_folder ? "FOLDER" : "FILE");
}

}  // namespace

CLI::Validator whole_number(std::int64_t least, std::int64_t most) {
  return validator(
      [=](const std::string& text) -> std::string {
        std::int64_t value = 0;
        const std::errc error = parse(text, value);
        if (error == std::errc() && value >= least && value <= most) return {};
        if (error == std::errc::result_out_of_range || value > most)
          return fmt::format("expected at most {}, found {}", most, text);
        return fmt::format("expected {}{}, found {}", error == std::errc() ? "" : "a whole number of ",
                           range_words(least, most), text.empty() ? "nothing" : text);
      },
      range_words(least, most));
}

CLI::Validator number_of_at_least(double least) {
  return number(limit_text(least) + " or more", [=](double value) { return value >= least; });
}

CLI::Validator number_above(double limit) {
  return number("more than " + limit_text(limit), [=](double value) { return value > limit; });
}

CLI::Validator choice_of(const std::vector<std::string>& names) {
  const Check<std::string> check = one_of(names);
  return validator(
      [check](const std::string& text) {
        const std::string problem = check.problem(text);
        return problem.empty() ? problem : fmt::format("{}, found \"{}\"", problem, text);
      },
      check.words);
}

CLI::Validator existing_file() {
  return entry(false);
}

CLI::Validator existing_folder() {
  return entry(true);
}

}  // namespace thinwire::launch
