#include "trainer/format/tensorboard.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>

#include "tests/trainer/temporary_folder.h"
#include "trainer/format/crc32c.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;
using ::testing::HasSubstr;

// Takes bytes from the front; a reader of its own, that shares nothing with the writer.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  std::string_view take(std::size_t n) {
    if (n > bytes_.size()) throw std::runtime_error("truncated");
    const std::string_view taken = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return taken;
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const auto byte = number<std::uint8_t>();
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw std::runtime_error("varint too long");
  }

 private:
  std::string_view bytes_;
};

struct Field {
  std::uint64_t integer = 0;
  double real = 0;
  std::string_view bytes;
};

std::map<int, Field> message_fields(std::string_view message) {
  std::map<int, Field> fields;
  for (Cursor cursor(message); !cursor.empty();) {
    const std::uint64_t key = cursor.varint();
    Field& field = fields[static_cast<int>(key >> 3)];
    switch (key & 7) {
      case 0:
        field.integer = cursor.varint();
        break;
      case 1:
        field.real = cursor.number<double>();
        break;
      case 2:
        field.bytes = cursor.take(cursor.varint());
        break;
      case 5:
        field.real = cursor.number<float>();
        break;
      default:
        throw std::runtime_error("unknown wire type");
    }
  }
  return fields;
}

// One bit at a time, as the definition says.
std::uint32_t bitwise_masked_crc(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::vector<std::map<int, Field>> events_of(std::string_view file) {
  std::vector<std::map<int, Field>> events;
  for (Cursor cursor(file); !cursor.empty();) {
    const std::string_view length_bytes = cursor.take(8);
    std::uint64_t length = 0;
    std::memcpy(&length, length_bytes.data(), 8);
    EXPECT_EQ(cursor.number<std::uint32_t>(), bitwise_masked_crc(length_bytes));
    const std::string_view event = cursor.take(length);
    EXPECT_EQ(cursor.number<std::uint32_t>(), bitwise_masked_crc(event));
    events.push_back(message_fields(event));
  }
  return events;
}

std::vector<std::string> sorted_files(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Tensorboard, TheChecksumIsCastagnolis) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
}

TEST(Tensorboard, AnotherReaderFindsEveryScalar) {
  TemporaryFolder folder;
  const std::vector<std::pair<double, std::int64_t>> points = {
      {1.5, 0}, {-0.25, 127}, {1e-30, 128}, {std::nan(""), 300}, {INFINITY, std::int64_t{1} << 40}};
  {
    TensorboardWriter writer(folder / "deep/tb");
    for (const auto& [value, step] : points) writer.scalar("train/loss", value, step);
    EXPECT_TRUE(writer.ok());
  }
  ASSERT_EQ(sorted_files(folder / "deep/tb").size(), 1u);
  const std::string file = read_bytes(sorted_files(folder / "deep/tb")[0]);
  auto events = events_of(file);
  ASSERT_EQ(events.size(), points.size() + 2);
  EXPECT_EQ(events[0][3].bytes, "brain.Event:2");
  EXPECT_EQ(message_fields(events[1][7].bytes)[1].integer, 1u);
  for (std::size_t i = 0; i < points.size(); ++i) {
    auto& event = events[i + 2];
    EXPECT_GT(event[1].real, 1.6e9);
    EXPECT_EQ(event[2].integer, static_cast<std::uint64_t>(points[i].second));
    auto value = message_fields(message_fields(event[5].bytes)[1].bytes);
    EXPECT_EQ(value[1].bytes, "train/loss");
    const auto expected = static_cast<float>(points[i].first);
    EXPECT_TRUE(value[2].real == expected || (std::isnan(value[2].real) && std::isnan(expected)));
  }
}

TEST(Tensorboard, ScalarsReachTheFileAtAFlush) {
  TemporaryFolder folder;
  TensorboardWriter writer(folder.path());
  writer.scalar("a", 1, 1);
  EXPECT_EQ(events_of(read_bytes(sorted_files(folder.path())[0])).size(), 1u);
  writer.flush();
  EXPECT_EQ(events_of(read_bytes(sorted_files(folder.path())[0])).size(), 3u);
}

TEST(Tensorboard, LaterWritersMakeFilesThatSortAfterTheOlder) {
  TemporaryFolder folder;
  write_bytes(folder / "events.out.tfevents.8999999999.elsewhere.1", "");
  for (int i = 0; i < 3; ++i) TensorboardWriter(folder.path()).scalar("a", i, i);
  const auto files = sorted_files(folder.path());
  ASSERT_EQ(files.size(), 4u);
  EXPECT_THAT(files[0], HasSubstr(".8999999999."));
  for (std::uint64_t i = 0; i < 3; ++i) {
    const std::string file = read_bytes(files[i + 1]);
    EXPECT_EQ(events_of(file).at(2)[2].integer, i);
  }
}

TEST(Tensorboard, AFullDiskLeavesWholeRecords) {
  TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{500, 500};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    bool ok = true;
    {
      TensorboardWriter writer(folder.path());
      for (int i = 0; i < 100; ++i) {
        writer.scalar("a", i, i);
        writer.flush();
      }
      ok = writer.ok();
    }
    ::_exit(ok ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_GT(events_of(read_bytes(sorted_files(folder.path())[0])).size(), 3u);
}

TEST(Tensorboard, AFolderThatCannotBeMadeIsNamed) {
  TemporaryFolder folder;
  write_bytes(folder / "file", "");
  EXPECT_THAT(message_of([&] { TensorboardWriter writer(folder / "file/tb"); }),
              HasSubstr(folder / "file/tb"));
}

// The Python package, where it is installed, reads a run that was resumed at step 2: the second file wins.
TEST(Tensorboard, TensorboardItselfReadsTheFiles) {
  if (std::system("python3 -c 'import tensorboard' 2>/dev/null") != 0) {
    GTEST_SKIP() << "the Python package tensorboard is not installed";
  }
  TemporaryFolder folder;
  {
    TensorboardWriter first(folder / "tb");
    for (int step = 1; step <= 3; ++step) first.scalar("loss", step, step);
  }
  {
    TensorboardWriter second(folder / "tb");
    for (int step = 2; step <= 4; ++step) second.scalar("loss", 10 * step, step);
  }
  write_bytes(folder / "read.py", R"(import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
print([(e.step, e.value) for e in events.Scalars('loss')])
)");
  const std::string command = "cd " + folder.path() + " && python3 read.py tb > out 2> errors";
  ASSERT_EQ(std::system(command.c_str()), 0) << read_bytes(folder / "errors");
  EXPECT_EQ(read_bytes(folder / "out"), "[(1, 1.0), (2, 20.0), (3, 30.0), (4, 40.0)]\n");
}

}  // namespace
}  // namespace thinwire::trainer
