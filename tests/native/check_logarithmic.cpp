#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>
#include "logarithmic.h"
#include "isa.h"
static std::mt19937_64 rng(3);
static int64_t pick(int64_t a,int64_t b){return a+int64_t(rng()%uint64_t(b-a+1));}
static int fails=0;
#define CHECK(c,...) do{if(!(c)){std::printf(__VA_ARGS__);std::printf("  [%s:%d]\n",__FILE__,__LINE__);if(++fails>10)std::exit(1);}}while(0)
using u128=unsigned __int128;
// Definitions, straight from the text: mitchell unsigned, by rational arithmetic; mitchell_w on bit fields.
static int lg(uint64_t v){int k=0;while(v>>(k+1))++k;return k;}
static uint64_t mitchell(uint64_t a,uint64_t b){ if(!a||!b)return 0;int ka=lg(a),kb=lg(b);
  // fa + fb = (a/2^ka - 1) + (b/2^kb - 1), as a numerator over 2^(ka+kb)
  u128 one=u128(1)<<(ka+kb),f=(u128(a)<<kb)+(u128(b)<<ka)-2*one; return uint64_t(f<one?one+f:2*f);}   // integers: 2^(ka+kb)(1+f) is exactly that numerator
static int64_t mitchell_signed(int64_t a,int64_t b){uint64_t z=mitchell(uint64_t(std::llabs(a)),uint64_t(std::llabs(b)));return (a<0)!=(b<0)?-int64_t(z):int64_t(z);}
// With truncated fractions (an F-bit fraction) the last shift does drop bits.
static uint64_t mitchell_f(uint64_t a,uint64_t b,int F){ if(!a||!b)return 0;int ka=lg(a),kb=lg(b);
  auto fr=[&](uint64_t v,int k){uint64_t r=v-(uint64_t(1)<<k);return k>=F?r>>(k-F):r<<(F-k);};
  u128 f=fr(a,ka)+fr(b,kb),one=u128(1)<<F;int ch=ka+kb;u128 m=f<one?one+f:2*f; return uint64_t((m<<ch)>>F);}
static int64_t mitchell_w(int64_t a,int64_t b,int n,int w){
  bool sa=a<0,sb=b<0;uint64_t M=(uint64_t(1)<<n)-1,A=uint64_t(sa?~a:a)&M,B=uint64_t(sb?~b:b)&M;
  int ka=A?lg(A):0,kb=B?lg(B):0; auto fr=[&](uint64_t v,int k){return ((v<<(n-1-k))&((uint64_t(1)<<(n-1))-1))>>(n-w);};
  uint64_t res=(uint64_t(ka)<<(w-1))+fr(A,ka)+(uint64_t(kb)<<(w-1))+fr(B,kb);int ch=int(res>>(w-1));uint64_t man=(uint64_t(1)<<(w-1))|(res&((uint64_t(1)<<(w-1))-1));
  uint64_t z=ch>=n?man<<(ch-w+1):(man<<(n-w))>>(n-1-ch);
  if(a==0||b==0)return 0; return sa!=sb?int64_t(~z):int64_t(z);}
struct Kind{int form,n,w;LogRounding r;int F;};   // form 0 unsigned full, 1 sign and magnitude, 2 mitchell_w, 3 unsigned with F-bit fractions, 4 sign and magnitude with F bits
static int64_t truth(const Kind&k,int64_t a,int64_t b){switch(k.form){case 0:return int64_t(mitchell(uint64_t(a),uint64_t(b)));case 1:return mitchell_signed(a,b);case 2:return mitchell_w(a,b,k.n,k.w);
  case 3:return int64_t(mitchell_f(uint64_t(a),uint64_t(b),k.F));default:{int64_t z=int64_t(mitchell_f(uint64_t(std::llabs(a)),uint64_t(std::llabs(b)),k.F));return (a<0)!=(b<0)?-z:z;}}}
template<class T>static T word(const Kind&k,int64_t a,bool weight){
  if(a==0)return T(weight?T(LogWords<T>::kZero+LogWords<T>::kBias):LogWords<T>::kZero);
  bool neg=a<0;uint64_t m=uint64_t(k.form==2?(neg?~a:a):std::llabs(a));int kk=m?lg(m):0;uint64_t r=m?m-(uint64_t(1)<<kk):0;
  uint64_t f=kk>=k.F?r>>(kk-k.F):r<<(k.F-kk);int64_t log=(int64_t(kk)<<k.F)+int64_t(f);
  return weight?LogWords<T>::weight(log,k.F,neg,k.r):LogWords<T>::activation(log,k.F,neg,k.r);}
static int64_t draw(const Kind&k){bool sg=k.form!=0&&k.form!=3;int64_t lo=sg?-(int64_t(1)<<(k.n-1)):0,hi=sg?(int64_t(1)<<(k.n-1))-1:(int64_t(1)<<k.n)-1;
  if(k.form==1||k.form>=4)lo=-hi; int64_t c=pick(0,9);if(c==0)return 0;if(c==1)return hi;if(c==2)return lo;if(c==3)return sg?-1:1;if(c<6)return pick(0,15)+(sg?-8:0)>hi?hi:pick(0,7);return pick(lo,hi);}
static double largest(const Kind&k){double m=(k.form==0||k.form==3)?double((uint64_t(1)<<k.n)-1):double(uint64_t(1)<<(k.n-1));return m*m;}
template<class T>static void pairs(const Kind&k,int64_t lo,int64_t hi,int64_t step){
  std::vector<int64_t> v;for(int64_t a=lo;a<=hi;a+=step)v.push_back(a); size_t m=v.size();std::vector<T> x(m),w(m);for(size_t i=0;i<m;++i){x[i]=word<T>(k,v[i],false);w[i]=word<T>(k,v[i],true);}
  std::vector<int64_t> o(m*m);LogWeights<T> lw(w.data(),int64_t(m),1,1,1,k.r,largest(k),lo<0);LogConv<T> p{};p.shape={1,1,1,int64_t(m),1,1,1,1,1,1,1,0,0,1,int64_t(m)};p.words=x.data();p.pad=x[0];p.weights=&lw;p.integers=o.data();p.threads=1;log_conv(p);
  for(size_t j=0;j<m;++j)for(size_t i=0;i<m;++i)CHECK(o[j*m+i]==truth(k,v[i],v[j]),"pairs form %d n %d bits %d: %ld x %ld = %ld not %ld",k.form,k.n,int(8*sizeof(T)),long(v[i]),long(v[j]),long(o[j*m+i]),long(truth(k,v[i],v[j])));}
template<class T>static void conv(const Kind&k){
  LogConv<T> q{};auto&p=q.shape;p.n=pick(1,2);p.groups=pick(0,2)?1:pick(1,4);int64_t depth=pick(1,40),oc=pick(1,14);p.c=depth*p.groups;p.kh=pick(1,3);p.kw=pick(1,3);p.sy=pick(1,2);p.sx=pick(1,3);p.dy=pick(1,2);p.dx=pick(1,2);
  p.top=pick(0,2);p.left=pick(0,2);p.h=pick(1,9);p.w=pick(1,20);p.out_height=p.h+p.top+pick(0,2)-p.dy*(p.kh-1)-1;p.out_width=p.w+p.left+pick(0,2)-p.dx*(p.kw-1)-1;if(p.out_height<0||p.out_width<0)return;
  p.out_height=p.out_height/p.sy+1;p.out_width=p.out_width/p.sx+1;int64_t channels=oc*p.groups;q.threads=int(pick(1,2));
  std::vector<int64_t> xv(p.n*p.c*p.h*p.w),wv(channels*p.taps());for(auto&v:xv){v=draw(k);if(k.form==5)v=std::llabs(v);}for(auto&v:wv)v=draw(k);if(pick(0,2)==0)for(auto&v:wv)v=v<0?-v-1:v;
  int64_t padv=std::llabs(draw(k));if(k.form!=5&&k.form!=0&&k.form!=3&&k.form!=5)padv=draw(k);std::vector<T> x,w;for(auto v:xv)x.push_back(word<T>(k,v,false));for(auto v:wv)w.push_back(word<T>(k,v,true));q.words=x.data();LogWeights<T> lw(w.data(),channels,p.groups,p.taps(),p.kh*p.kw,k.r,largest(k),k.form!=0&&k.form!=3&&k.form!=5);q.weights=&lw;q.pad=word<T>(k,padv,false);
  std::vector<int64_t> con(channels);for(auto&v:con)v=pick(-99999,99999);q.constant=pick(0,1)?con.data():nullptr;std::vector<int32_t> box(p.n*p.groups*p.pixels());for(auto&v:box)v=int(pick(-9999,9999));q.box=pick(0,1)?box.data():nullptr;
  size_t m=p.n*channels*p.pixels();std::vector<int64_t> a(m),b(m),c(m);std::vector<float> f(m),g(m);
  std::vector<T> tab(x);std::vector<uint16_t> c16(x.size());std::vector<uint8_t> c8(x.size());int how=int(pick(0,2));
  if(how==1&&x.size()<=65536){for(size_t i=0;i<x.size();++i)c16[i]=uint16_t(i);q.words=nullptr;q.wide_codes=c16.data();q.table=tab.data();}
  if(how==2){tab.resize(256,x[0]);for(size_t i=0;i<x.size();++i){c8[i]=uint8_t(i);if(i>=256){x[i]=tab[i%256];xv[i]=xv[i%256];}}q.words=nullptr;q.codes=c8.data();q.table=tab.data();}
  q.integers=a.data();q.out=f.data();log_conv_reference(q);q.integers=b.data();q.out=g.data();log_conv(q);
  for(int64_t n=0;n<p.n;++n)for(int64_t o=0;o<channels;++o)for(int64_t y=0;y<p.out_height;++y)for(int64_t xx=0;xx<p.out_width;++xx){int64_t gr=o/oc;uint64_t s=uint64_t(q.constant?con[o]:0);if(q.box)s+=uint64_t(int64_t(box[(n*p.groups+gr)*p.pixels()+y*p.out_width+xx]));
    for(int64_t t=0;t<p.taps();++t){int64_t ch=t/(p.kh*p.kw),iy=y*p.sy+t/p.kw%p.kh*p.dy-p.top,ix=xx*p.sx+t%p.kw*p.dx-p.left;bool in=iy>=0&&iy<p.h&&ix>=0&&ix<p.w;s+=uint64_t(truth(k,in?xv[((n*p.c+gr*depth+ch)*p.h+iy)*p.w+ix]:padv,wv[o*p.taps()+t]));}
    c[(n*channels+o)*p.pixels()+y*p.out_width+xx]=int64_t(s);}
  CHECK(a==c,"log reference form %d n %d",k.form,k.n);CHECK(b==c,"log conv form %d n %d T %d",k.form,k.n,int(sizeof(T)));CHECK(f==g,"log float");
  std::vector<float> scale(channels),values(x.size());for(auto&v:scale)v=float(pick(1,999))/777;q.scale=scale.data();q.integers=nullptr;
  for(auto&v:values)v=float(pick(-99,999))*0.0137f;
  if(how){const int top=int(std::min<size_t>(tab.size(),256))-1;q.quantization={0.01f,int(pick(0,top)),0,top};q.codes=nullptr;q.wide_codes=nullptr;q.words=nullptr;q.table=tab.data();q.values=values.data();}
  q.out=f.data();log_conv_reference(q);q.out=g.data();log_conv(q);CHECK(f==g,"log layer");
}
int main(int argc,char**argv){int rounds=argc>1?std::atoi(argv[1]):25;
  auto D=LogRounding::down,Z=LogRounding::toward_zero,C=LogRounding::complement,M=LogRounding::magnitude;
  for(int F:{7,6,5,3}){Kind u{3,8,0,D,F},s{4,8,0,Z,F};pairs<int32_t>(u,0,255,1);pairs<int64_t>(u,0,255,1);pairs<int32_t>(s,-127,127,1);pairs<int64_t>(s,-127,127,1);s.r=M;pairs<int32_t>(s,-127,127,1);pairs<int64_t>(s,-127,127,1);conv<int32_t>(s);conv<int64_t>(s);}
  Kind u8{0,8,0,D,7};pairs<int32_t>(u8,0,255,1);
  Kind i8{1,8,0,Z,7};pairs<int16_t>(u8,0,255,1);pairs<int16_t>(i8,-127,127,1);   // every product is an integer
  for(int w:{4,6,8})for(auto R:{D,C}){Kind m{2,8,w,R,w-1};pairs<int32_t>(m,-128,127,1);pairs<int64_t>(m,-128,127,1);}
  Kind m16{2,16,6,D,5};pairs<int32_t>(Kind{2,16,6,C,5},-32768,32767,97);pairs<int64_t>(m16,-32768,32767,101);
  Kind u16{0,16,0,D,15};pairs<int64_t>(u16,0,65535,131);pairs<int64_t>(Kind{1,16,0,Z,15},-32767,32767,127);
  pairs<int64_t>(Kind{2,32,6,C,5},-(1LL<<31),(1LL<<31)-1,(1LL<<32)/311);pairs<int64_t>(Kind{1,32,0,Z,31},-((1LL<<31)-1),(1LL<<31)-1,(1LL<<32)/317);pairs<int64_t>(Kind{0,31,0,D,30},0,(1LL<<31)-1,(1LL<<31)/307);
  for(int i=0;i<rounds;++i){for(int F:{7,5}){conv<int32_t>(Kind{3,8,0,D,F});conv<int32_t>(Kind{4,8,0,Z,F});conv<int64_t>(Kind{3,8,0,D,F});}
    conv<int16_t>(u8);conv<int16_t>(i8);conv<int16_t>(Kind{5,8,0,Z,7});conv<int32_t>(Kind{0,8,0,D,7});conv<int32_t>(Kind{2,8,6,D,5});conv<int64_t>(Kind{2,16,6,D,5});conv<int32_t>(Kind{2,11,6,D,5});conv<int32_t>(Kind{2,12,6,C,5});conv<int64_t>(Kind{2,24,6,D,5});
    conv<int64_t>(Kind{0,16,0,D,15});conv<int64_t>(Kind{1,16,0,Z,15});conv<int64_t>(Kind{2,32,6,C,5});conv<int32_t>(Kind{0,12,0,D,11});conv<int64_t>(Kind{0,31,0,D,30});conv<int64_t>(Kind{1,32,0,Z,31});conv<int32_t>(Kind{1,12,0,Z,11});conv<int32_t>(Kind{1,8,0,M,7});conv<int64_t>(Kind{1,16,0,M,15});conv<int32_t>(Kind{4,9,0,M,6});conv<int32_t>(Kind{5,8,0,M,7});conv<int32_t>(Kind{5,8,0,Z,7});conv<int64_t>(Kind{5,12,0,M,11});}
  std::printf("logarithmic: %s, %d failures\n",isa_name(chosen_isa()),fails);return fails!=0;}
